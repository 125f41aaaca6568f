/** So many a turn of the event loop begins at once. Where more come, each later turn begins one. */
const AT_ONCE = 8;

/**
 * Begins the requests that come. Where they come faster than they can be answered, they stand in lines, and the lines
 * take turns: whoever brings thousands waits for themselves. Between any two the event loop has a turn, in which it
 * accepts one connection and sees what else has come; so those who are in no line are not behind the lines either.
 */
export class Turns {
  readonly #lines = new Map<string, (() => void)[]>();
  /** Those that this turn of the event loop has begun. */
  #begun = 0;
  #isCounting = false;
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

  /** From now on nothing waits, and what does is begun. */
  hurry(): void {
    this.#isHurried = true;
    while (this.#lines.size > 0) this.#beginNext();
  }

  #count(): void {
    if (this.#isCounting) return;
    this.#isCounting = true;
    setImmediate(this.#next);
  }

  readonly #next = (): void => {
    this.#begun = 0;
    this.#isCounting = false;
    if (this.#lines.size === 0) return;
    this.#beginNext();
    this.#count();
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
