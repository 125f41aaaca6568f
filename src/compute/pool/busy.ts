/** The pool does not take a request, now. */
export class PoolBusy extends Error {
  override readonly name = 'PoolBusy';
  readonly code: 'queue-full' | 'overloaded';
  /** Seconds after which another try makes sense. */
  readonly retryAfter: number;

  constructor(code: PoolBusy['code'], message: string, retryAfter: number) {
    super(message);
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded';
}
