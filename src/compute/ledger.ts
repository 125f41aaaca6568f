import { amount } from './amount.js';

/**
 * What the main thread and the workers know of all requests at any moment, in memory that they share: which ones are
 * still wanted, which ones are being worked on, and how much memory they take, together and for each caller.
 *
 * The main thread opens a slot for each request, hands its number to the workers with everything they do for it, and
 * closes it when no worker has it any more. So nothing is lost when a worker dies in between.
 *
 * No caller can shut out the others. The last quarter of the memory is for callers that hold less than a quarter, and
 * beyond the places there are some for callers that have nearly none.
 */
export class Ledger {
  readonly buffer: SharedArrayBuffer;
  readonly #entries: Int32Array;
  readonly #free: number[] = [];
  readonly #accounts = new Accounts();
  #places = 0;
  #open = 0;

  /** @param buffer of another thread's ledger */
  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#entries = new Int32Array(buffer);
  }

  /**
   * @param places requests at the same time, at most; a quarter as many again are for callers that have nearly none
   * @param limit bytes that they may take together
   */
  static create(places: number, limit: number): Ledger {
    const slots = places + guestPlaces(places);
    const ledger = new Ledger(new SharedArrayBuffer(4 * (at(0) + slots * WIDTH)));
    ledger.#entries[LIMIT] = kibibytes(limit);
    ledger.#places = places;
    for (let slot = slots - 1; slot >= 0; slot--) ledger.#free.push(slot);
    return ledger;
  }

  /** Bytes that all requests take at the moment, and may take. */
  get used(): number {
    return 1024 * Atomics.load(this.#entries, USED);
  }
  get limit(): number {
    return 1024 * this.#entries[LIMIT];
  }

  /** Bytes that one caller may take. */
  get share(): number {
    return 1024 * (this.#entries[LIMIT] - quarter(this.#entries[LIMIT]));
  }

  /**
   * The account of a caller, for one more request of it. Accounts are the main thread's to open and close; workers
   * know them by their slots.
   */
  enter(caller: string): number {
    return this.#accounts.enter(caller);
  }

  /** A request of the account is over: it has given back all that it had taken. */
  leave(account: number): void {
    this.#accounts.leave(account);
  }

  /**
   * Changes what an account has taken from the budget, in place of what it had taken before.
   *
   * @return false, and nothing has changed, where it would be more than the limit or the caller's share; less is
   *   always possible
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

  /** @param used of the budget, and `own` of it by the caller, if it got what it asks for */
  #hasRoom(used: number, own: number): boolean {
    const limit = this.#entries[LIMIT];
    return used <= limit - quarter(limit) || (used <= limit && own <= quarter(limit));
  }

  /** The same without a limit: for what is there already. */
  charge(account: number, before: number, after: number): void {
    const change = kibibytes(after) - kibibytes(before);
    Atomics.add(this.#entries, USED, change);
    Atomics.add(this.#entries, ACCOUNTS + account, change);
  }

  /** Is there a place for another request of the caller? For the main thread alone, like open, close and stop. */
  hasPlace(caller: string): boolean {
    if (this.#open < this.#places) return true;
    return this.#free.length > 0 && this.#accounts.placesOf(caller) < Math.ceil(guestPlaces(this.#places) / 4);
  }

  /** A slot for a new request of the caller; undefined where it has no place. */
  open(caller: string): number | undefined {
    if (!this.hasPlace(caller)) return undefined;
    const slot = this.#free.pop() as number;
    this.#entries[at(slot) + ACCOUNT] = this.#accounts.takePlace(caller);
    this.#open++;
    return slot;
  }

  /** Gives back the slot, and what workers have taken for it. */
  close(slot: number): void {
    this.take(slot, 0);
    Atomics.store(this.#entries, at(slot) + STATE, WANTED);
    Atomics.store(this.#entries, at(slot) + RUNS, 0); // a worker that died has not ended what it had begun
    this.#accounts.givePlaceBack(this.#entries[at(slot) + ACCOUNT]);
    this.#open--;
    this.#free.push(slot);
  }

  /** From now on nobody wants the answer. */
  stop(slot: number): void {
    Atomics.store(this.#entries, at(slot) + STATE, STOPPED);
  }

  /** Is it the request that a worker is busy with, of those that were sent to it together? */
  isRunning(slot: number): boolean {
    return Atomics.load(this.#entries, at(slot) + RUNS) > 0;
  }

  isStopped(slot: number): boolean {
    return Atomics.load(this.#entries, at(slot) + STATE) === STOPPED;
  }

  /** A worker begins, or ends, something for the request. */
  begin(slot: number): void {
    Atomics.add(this.#entries, at(slot) + RUNS, 1);
  }
  end(slot: number): void {
    Atomics.sub(this.#entries, at(slot) + RUNS, 1);
  }

  /**
   * Changes what workers have taken for the request, in place of what they had before.
   *
   * @return false, and nothing has changed, where it would be more than the limit or the caller's share
   */
  take(slot: number, bytes: number): boolean {
    if (!this.exchange(this.#entries[at(slot) + ACCOUNT], this.takenBy(slot), bytes)) return false;
    this.#entries[at(slot) + TAKEN] = kibibytes(bytes);
    return true;
  }

  takenBy(slot: number): number {
    return 1024 * this.#entries[at(slot) + TAKEN];
  }
}

/** As many callers can have something in the service at the same time; what comes beyond them counts as one. */
const MOST_CALLERS = 2 ** 16;

/** Which caller has which account, as long as it has anything. */
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
  /** Requests that have entered and not left, and places among them. */
  users: number;
  places: number;
}

/** No caller has this name. */
const OTHERS = 'others';

/** The first entries, one for each account, and some for each slot; all in units that let 32 bits count terabytes. */
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

/** Why something cannot be had now, after the words that say how much it is. */
export function shortage(asked: string, { used, limit, share }: Pick<Ledger, 'used' | 'limit' | 'share'>): string {
  return `${asked}, but of the ${limit} that all requests may take together ${used} are taken, and one caller may take ${share}`;
}

/** Thrown in a worker where a request is no longer wanted: its client has left, or its deadline has passed. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
}
