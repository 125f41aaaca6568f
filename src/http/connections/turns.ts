/** So many a turn of the event loop begins, at most. */
const AT_ONCE = 8;
/** Milliseconds after which a turn begins no more of what waits. */
const SLICE_MS = 2;
/** While connections come, nothing that waits is begun for so many milliseconds: each turn accepts but one of them. */
const ACCEPT_MS = 5;
/** A turn of the event loop that has gone on for so many milliseconds is long. */
const LONG_MS = 10;

/**
 * Begins the requests that come. Where they come faster than they can be answered, they stand in lines, and the lines
 * take turns: whoever brings thousands waits for themselves. The turns of the event loop stay short, since in each it
 * accepts one connection and sees what else has come; so those who are in no line are not behind the lines either.
 */
export class Turns {
  readonly #lines = new Map<string, (() => void)[]>();
  /** Those that this turn of the event loop has begun. */
  #begun = 0;
  #isCounting = false;
  /** When this turn had its first event that is counted here. */
  #since = 0;
  #number = 0;
  #hasAccepted = false;
  /** When those that wait have had their time. */
  #sliceEnd = 0;
  #isHurried = false;

  /** Is it time for one more now, as nobody waits? Then it has been counted. */
  mayBegin(): boolean {
    if (!this.#isHurried && (this.#begun >= AT_ONCE || this.#lines.size > 0)) return false;
    this.#begun++;
    this.#count();
    return true;
  }

  /** Begins it when it is the turn of its line. */
  wait(line: string, begin: () => void): void {
    const waiting = this.#lines.get(line);
    if (waiting) waiting.push(begin);
    else this.#lines.set(line, [begin]);
    this.#count();
  }

  /** This turn of the event loop has accepted a connection, and more may stand behind it. */
  accepted(): void {
    this.#hasAccepted = true;
  }

  /** Has this turn of the event loop gone on for long, and is there time for others? */
  isLong(): boolean {
    return !this.#isHurried && performance.now() - this.#since > LONG_MS;
  }

  /** Which turn of the event loop this is. */
  get number(): number {
    this.#count();
    return this.#number;
  }

  /** From now on nothing waits, and what does is begun. */
  hurry(): void {
    this.#isHurried = true;
    while (this.#lines.size > 0) this.#beginNext();
  }

  #count(): void {
    if (this.#isCounting) return;
    this.#isCounting = true;
    this.#since = performance.now();
    setImmediate(this.#next);
  }

  readonly #next = (): void => {
    this.#begun = 0;
    this.#number++;
    this.#isCounting = false;
    const hasAccepted = this.#hasAccepted;
    this.#hasAccepted = false;
    if (this.#lines.size === 0) return;
    this.#count();
    const now = performance.now();
    if (hasAccepted && now < this.#sliceEnd + ACCEPT_MS) return;
    this.#sliceEnd = now + SLICE_MS;
    for (let i = 0; i < AT_ONCE && this.#lines.size > 0 && performance.now() < this.#sliceEnd; i++) this.#beginNext();
  };

  #beginNext(): void {
    const [[line, waiting]] = this.#lines;
    const begin = waiting.shift();
    // Behind the others, if anybody is left in it.
    this.#lines.delete(line);
    if (waiting.length > 0) this.#lines.set(line, waiting);
    begin?.();
  }
}
