import { type Spread, spread } from './statistics.js';

/** Something that is measured beside others of its kind. */
export interface Subject {
  /** Comes before each of its turns: the others work in the same memory. */
  begin?(): void;
  /** Does the work and returns how long it took, in milliseconds; what it does beside is not counted. */
  run(): number;
}

/** Turns are short, so that a busy moment of the machine hits all subjects. */
const TURN_MS = 50;
const LEAST_RUNS = 5;

/**
 * Runs all subjects in turns, until each has had its time and a few runs, after a warm-up that is not counted: until
 * the compiler has seen the loops.
 *
 * @param seconds for each subject
 * @returns milliseconds of one run of each
 */
export function measureInTurns(subjects: readonly Subject[], seconds: number): Spread[] {
  for (const subject of subjects) takeTurn(subject, seconds * 250);
  const states = subjects.map((subject) => ({ subject, times: [] as number[], spent: 0 }));
  for (let open = states; open.length > 0; ) {
    for (const state of open) {
      const start = performance.now();
      state.times.push(...takeTurn(state.subject, Math.min(TURN_MS, seconds * 1000)));
      state.spent += performance.now() - start;
    }
    open = open.filter(({ times, spent }) => times.length < LEAST_RUNS || spent < seconds * 1000);
  }
  return states.map(({ times }) => spread(times));
}

function takeTurn(subject: Subject, limit: number): number[] {
  subject.begin?.();
  const times: number[] = [];
  const end = performance.now() + limit;
  do times.push(subject.run());
  while (performance.now() < end);
  return times;
}

/** The time of one thing, in milliseconds. */
export function timed(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

/** What is too short for the clock. */
const SHORT_MS = 0.05;

/** Times something that may be too short for the clock: does it as often as needed, and returns the time of one. */
export function timedOften(work: () => void): () => number {
  let repeats = 1;
  const all = () => {
    for (let i = 0; i < repeats; i++) work();
  };
  return () => {
    const ms = timed(all);
    const once = ms / repeats;
    if (ms < SHORT_MS) repeats *= 2;
    return once;
  };
}
