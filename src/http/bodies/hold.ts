import type { Pool } from '../../compute/pool/pool.js';

/** What one request takes of the memory of all of them while its bytes are in this thread: first its body, then its answer. */
export class Hold {
  /** Whom it counts for. */
  readonly caller: string;
  readonly #memory: Pool['memory'];
  readonly #account: number;
  #bytes = 0;
  #isOver = false;

  constructor(memory: Pool['memory'], caller: string) {
    this.caller = caller;
    this.#memory = memory;
    this.#account = memory.enter(caller);
  }

  /** More bytes of the body; false where there is no memory for them. */
  grow(bytes: number): boolean {
    if (this.#isOver || !this.#memory.exchange(this.#account, this.#bytes, bytes)) return false;
    this.#bytes = bytes;
    return true;
  }

  /** Other bytes, which are there already. */
  become(bytes: number): void {
    if (this.#isOver) return;
    this.#memory.charge(this.#account, this.#bytes, bytes);
    this.#bytes = bytes;
  }

  /** Gives everything back, for good: what still comes of the request is nobody's any more. */
  end(): void {
    if (this.#isOver) return;
    this.become(0);
    this.#isOver = true;
    this.#memory.leave(this.#account);
  }
}
