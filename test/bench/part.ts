import type { Tier } from '../../src/kernels/kernels.js';
import type { Operation } from '../../src/operations/operation.js';
import type { Dtype } from '../../src/tensor/tensor.js';
import { alignedTable, type Columns } from '../table.js';

/** What is asked for on the command line; what is undefined, each part chooses. */
export interface Plan {
  readonly sizes: readonly string[] | undefined;
  readonly dtypes: readonly Dtype[];
  readonly tiers: readonly Tier[] | undefined;
  readonly operations: readonly Operation[];
  /** How long each subject is measured. */
  readonly seconds: number;
  /** Also with weights that the service or the engine does not know yet. */
  readonly fresh: boolean;
  readonly workers: readonly number[] | undefined;
  readonly connections: number | undefined;
  /** Only shows that everything runs. */
  readonly quick: boolean;
}

/** A part of the benchmark. */
export interface Part {
  /** One line for the help. */
  readonly what: string;
  /** How long each subject is measured, if nothing else is asked for. */
  readonly seconds: number;
  measure(plan: Plan): Promise<Report[]>;
}

/** What came out, for people and for programs. */
export interface Report {
  readonly title: string;
  readonly table: string;
  /** One line each. The names of their fields are stable. */
  readonly figures: readonly Figure[];
}

export interface Figure {
  readonly bench: string;
}

export function report<F extends Figure>(title: string, figures: readonly F[], columns: Columns<F>): Report {
  return { title, table: alignedTable(figures, columns), figures };
}

/** Shows that something happens. */
export function progress(text: string): void {
  process.stderr.write(`${text} …\n`);
}
