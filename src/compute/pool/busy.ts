/** The pool cannot take a request now. */
export class PoolBusy extends Error {
  override readonly name = 'PoolBusy';
  readonly code: 'queue-full' | 'overloaded';
  /** Seconds after which the caller should try again. */
  readonly retryAfter: number;

  constructor(code: PoolBusy['code'], message: string, retryAfter: number) {
    super(message);
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** The deadline of a request passed before its answer was ready. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded';
}
