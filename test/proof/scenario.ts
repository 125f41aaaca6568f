import type { Finding } from './report.js';

/** Something that goes wrong while the service works. */
export interface Scenario {
  /** One line for the help. */
  readonly what: string;
  /** How often it happens: what is asked for by default, and in a short run. */
  readonly times: number;
  readonly short: number;
  run(plan: Plan): Promise<Outcome>;
}

export interface Plan {
  readonly times: number;
  /** Of the requests' numbers. */
  readonly seed: number;
  /** Only shows that everything runs: fewer different requests, shorter waits. */
  readonly short: boolean;
  /** Of hostile: these attacks only. */
  readonly only?: readonly string[];
}

export interface Outcome {
  readonly figures: object;
  readonly findings: readonly Finding[];
  /** Why nothing was done. */
  readonly skipped?: string;
}
