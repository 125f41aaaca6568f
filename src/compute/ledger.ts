import { amount } from './amount.js';

/**
 * The state of all requests, in memory that the main thread and the workers share: which requests are still wanted, which
 * ones are being worked on, and how much memory they take, together and for each caller.
 *
 * The main thread opens a slot for each request. Every task for the request carries the number of its slot. The main
 * thread closes the slot when no worker has the request any more, so nothing is lost if a worker dies.
 *
 * No caller can shut out the others. The last quarter of the memory is for callers that hold less than a quarter, and
 * a few extra places are for callers that have nearly none.
 */
export class Ledger {
  readonly buffer: SharedArrayBuffer;
  readonly #entries: Int32Array;
  readonly #free: number[] = [];
  readonly #accounts = new Accounts();
  #places = 0;
  #open = 0;

  /** @param buffer of a ledger that another thread created */
  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#entries = new Int32Array(buffer);
  }

  /**
   * @param places for requests at the same time; a quarter as many are added for callers that have nearly none
   * @param limit bytes that all requests may take together
   */
  static create(places: number, limit: number): Ledger {
    const slots = places + guestPlaces(places);
    const ledger = new Ledger(new SharedArrayBuffer(4 * (at(0) + slots * WIDTH)));
    ledger.#entries[LIMIT] = kibibytes(limit);
    ledger.#places = places;
    for (let slot = slots - 1; slot >= 0; slot--) ledger.#free.push(slot);
    return ledger;
  }

  /** Bytes that all requests take now. */
  get used(): number {
    return 1024 * Atomics.load(this.#entries, USED);
  }
  /** Bytes that all requests may take together. */
  get limit(): number {
    return 1024 * this.#entries[LIMIT];
  }

  /** Bytes that one caller may take. A caller that is alone can still not take the last quarter. */
  get share(): number {
    return 1024 * (this.#entries[LIMIT] - quarter(this.#entries[LIMIT]));
  }

  /**
   * Returns the account of a caller, for one more request. Only the main thread opens and closes accounts; workers find
   * them by the slots of requests.
   */
  enter(caller: string): number {
    return this.#accounts.enter(caller);
  }

  /** Ends one request of the account. It must have given back all memory that it had taken. */
  leave(account: number): void {
    this.#accounts.leave(account);
  }

  /**
   * Changes what an account holds of the memory budget, from `before` to `after` bytes.
   *
   * @return false, with nothing changed, if that would exceed the limit or the caller's share; taking less always works
   */
  exchange(account: number, before: number, after: number): boolean {
    const change = kibibytes(after) - kibibytes(before);
    for (;;) {
      const used = Atomics.load(this.#entries, USED);
      if (change > 0 && !this.#hasRoom(used + change, Atomics.load(this.#entries, ACCOUNTS + account) + change)) {
        return false;
      }
      if (Atomics.compareExchange(this.#entries, USED, used, used + change) !== used) continue;
      Atomics.add(this.#entries, ACCOUNTS + account, change);
      return true;
    }
  }

  /** @param used KiB that all callers, and `own` KiB that this caller, would hold with the request granted */
  #hasRoom(used: number, own: number): boolean {
    const limit = this.#entries[LIMIT];
    return used <= limit - quarter(limit) || (used <= limit && own <= quarter(limit));
  }

  /** Changes what an account holds without asking for room: the memory is in use already. */
  charge(account: number, before: number, after: number): void {
    const change = kibibytes(after) - kibibytes(before);
    Atomics.add(this.#entries, USED, change);
    Atomics.add(this.#entries, ACCOUNTS + account, change);
  }

  /** Is there a place for another request of the caller? Only the main thread calls this, open, close and stop. */
  hasPlace(caller: string): boolean {
    if (this.#open < this.#places) return true;
    return this.#free.length > 0 && this.#accounts.placesOf(caller) < Math.ceil(guestPlaces(this.#places) / 4);
  }

  /** Opens a slot for a new request of the caller; undefined if there is no place for it. */
  open(caller: string): number | undefined {
    if (!this.hasPlace(caller)) return undefined;
    const slot = this.#free.pop() as number;
    this.#entries[at(slot) + ACCOUNT] = this.#accounts.takePlace(caller);
    this.#open++;
    return slot;
  }

  /** Gives back the slot, and the memory that workers have taken for its request. */
  close(slot: number): void {
    this.take(slot, 0);
    Atomics.store(this.#entries, at(slot) + STATE, WANTED);
    Atomics.store(this.#entries, at(slot) + RUNS, 0); // a worker that died has not ended what it had begun
    this.#accounts.givePlaceBack(this.#entries[at(slot) + ACCOUNT]);
    this.#open--;
    this.#free.push(slot);
  }

  /** Marks the request as no longer wanted. */
  stop(slot: number): void {
    Atomics.store(this.#entries, at(slot) + STATE, STOPPED);
  }

  /** Is a worker busy with this request now? Of several requests in one message, it works on one at a time. */
  isRunning(slot: number): boolean {
    return Atomics.load(this.#entries, at(slot) + RUNS) > 0;
  }

  isStopped(slot: number): boolean {
    return Atomics.load(this.#entries, at(slot) + STATE) === STOPPED;
  }

  /** A worker begins a task of the request. */
  begin(slot: number): void {
    Atomics.add(this.#entries, at(slot) + RUNS, 1);
  }
  /** A worker has ended a task of the request. */
  end(slot: number): void {
    Atomics.sub(this.#entries, at(slot) + RUNS, 1);
  }

  /**
   * Changes what workers hold for the request to this many bytes.
   *
   * @return false, with nothing changed, if that would exceed the limit or the caller's share
   */
  take(slot: number, bytes: number): boolean {
    if (!this.exchange(this.#entries[at(slot) + ACCOUNT], this.takenBy(slot), bytes)) return false;
    this.#entries[at(slot) + TAKEN] = kibibytes(bytes);
    return true;
  }

  /** Bytes that workers hold for the request. */
  takenBy(slot: number): number {
    return 1024 * this.#entries[at(slot) + TAKEN];
  }
}

/** The most callers with accounts of their own at the same time; all further callers share one account. */
const MOST_CALLERS = 2 ** 16;

/** The accounts of callers. A caller has one for as long as it has requests. */
class Accounts {
  readonly #callers = new Map<string, number>();
  readonly #entries: (Account | undefined)[] = [];
  readonly #free: number[] = [];

  enter(caller: string): number {
    const account = this.#callers.get(caller) ?? this.#add(caller);
    (this.#entries[account] as Account).users++;
    return account;
  }

  #add(caller: string): number {
    const isFull = this.#callers.size >= MOST_CALLERS - 1;
    const name = isFull ? OTHERS : caller;
    const known = this.#callers.get(name);
    if (known !== undefined) return known;
    const account = this.#free.pop() ?? this.#entries.length;
    this.#entries[account] = { caller: name, users: 0, places: 0 };
    this.#callers.set(name, account);
    return account;
  }

  leave(account: number): void {
    const entry = this.#entries[account] as Account;
    entry.users--;
    if (entry.users > 0) return;
    this.#callers.delete(entry.caller);
    this.#entries[account] = undefined;
    this.#free.push(account);
  }

  placesOf(caller: string): number {
    return this.#entries[this.#callers.get(caller) ?? Number.NaN]?.places ?? 0;
  }

  takePlace(caller: string): number {
    const account = this.enter(caller);
    (this.#entries[account] as Account).places++;
    return account;
  }

  givePlaceBack(account: number): void {
    (this.#entries[account] as Account).places--;
    this.leave(account);
  }
}

interface Account {
  readonly caller: string;
  /** Requests that have entered and not left. Taking a place enters, too. */
  users: number;
  /** Places that the caller has taken. */
  places: number;
}

/** The account of all callers beyond MOST_CALLERS. No caller has this name. */
const OTHERS = 'others';

/**
 * Offsets of the 32-bit entries: two of the whole budget, one for each account, then WIDTH for each slot. Memory is counted
 * in KiB, so that 32 bits reach terabytes.
 */
const [USED, LIMIT, ACCOUNTS] = [0, 1, 2];
const [STATE, RUNS, TAKEN, ACCOUNT, WIDTH] = [0, 1, 2, 3, 4];
const [WANTED, STOPPED] = [0, 1];

function at(slot: number): number {
  return ACCOUNTS + MOST_CALLERS + slot * WIDTH;
}

function guestPlaces(places: number): number {
  return Math.ceil(places / 4);
}

function quarter(limit: number): number {
  return Math.floor(limit / 4);
}

function kibibytes(bytes: number): number {
  return Math.ceil(amount('a share of the memory', bytes) / 1024);
}

/** The sentence that says why there is no memory now. @param asked its beginning: who asks, and for how many bytes */
export function shortage(asked: string, { used, limit, share }: Pick<Ledger, 'used' | 'limit' | 'share'>): string {
  return `${asked}, but ${used} of the ${limit} bytes for all requests together are taken, and one caller may take ${share}`;
}

/** The request is no longer wanted: its client has left, or its deadline has passed. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
}
