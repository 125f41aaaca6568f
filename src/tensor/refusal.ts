/** What a request can get wrong below HTTP. The status and title of each code are in http/problems.ts. */
export type RefusalCode =
  | 'invalid-json'
  | 'invalid-request'
  | 'invalid-tensor'
  | 'cache-not-found'
  | 'shape-mismatch'
  | 'non-finite-result'
  | 'work-too-large';

/** One thing that is wrong: where (a JSON pointer, RFC 6901), what, and for bad syntax at which byte. */
export interface Fault {
  readonly pointer: string;
  readonly detail: string;
  readonly offset?: number;
}

/** A refused request: the caller's to mend. `faults` is never empty. */
export class Refusal extends Error {
  readonly code: RefusalCode;
  readonly faults: readonly Fault[];

  constructor(code: RefusalCode, faults: readonly Fault[]) {
    super(faults[0].detail);
    this.code = code;
    this.faults = faults;
  }
}

/** How many faults one answer lists: a hostile body can hold millions. */
const MOST_FAULTS = 20;

/** Collects faults of one code up to a bound; `refuse` throws them, if there are any. */
export class Faults {
  readonly #faults: Fault[] = [];
  #uncounted = 0;

  add(pointer: string, detail: string): void {
    if (this.#faults.length < MOST_FAULTS) this.#faults.push({ pointer, detail });
    else this.#uncounted++;
  }

  get isEmpty(): boolean {
    return this.#faults.length === 0;
  }

  refuse(code: RefusalCode): void {
    if (this.isEmpty) return;
    if (this.#uncounted > 0) this.#faults.push({ pointer: '', detail: `and ${this.#uncounted} more` });
    throw new Refusal(code, this.#faults);
  }
}
