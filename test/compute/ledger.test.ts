import { describe, expect, it } from 'vitest';
import { Ledger } from '../../src/compute/ledger.js';

const MIB = 2 ** 20;

describe('the memory of all requests', () => {
  it('is exchanged up to what one caller may have of it, and less is always possible', () => {
    const ledger = Ledger.create(4, 16 * MIB);
    expect([ledger.limit, ledger.share]).toEqual([16 * MIB, 12 * MIB]);
    const account = ledger.enter('greedy');
    expect(ledger.exchange(account, 0, 12 * MIB)).toBe(true);
    expect(ledger.exchange(account, 0, 1)).toBe(false);
    expect(ledger.exchange(account, 12 * MIB, 12 * MIB + 1)).toBe(false);
    expect(ledger.used).toBe(12 * MIB);
    ledger.charge(account, 0, 8 * MIB); // what is there already
    expect(ledger.exchange(account, 12 * MIB, 11 * MIB)).toBe(true);
    expect(ledger.used).toBe(19 * MIB);
  });

  it('has a last quarter for callers that hold less than a quarter', () => {
    const ledger = Ledger.create(4, 16 * MIB);
    const [greedy, polite] = [ledger.enter('greedy'), ledger.enter('polite')];
    expect(ledger.exchange(greedy, 0, 12 * MIB)).toBe(true);
    expect(ledger.exchange(polite, 0, 4 * MIB + 1)).toBe(false);
    expect(ledger.exchange(polite, 0, 4 * MIB)).toBe(true);
    expect(ledger.exchange(polite, 0, 1)).toBe(false);
    expect(ledger.exchange(greedy, 12 * MIB, 0)).toBe(true);
    expect(ledger.exchange(polite, 4 * MIB, 12 * MIB)).toBe(true);
  });

  it('counts what workers take of it for the caller of the slot', () => {
    const ledger = Ledger.create(4, 16 * MIB);
    const slot = ledger.open('greedy') as number;
    const inWorker = new Ledger(ledger.buffer);
    expect(inWorker.take(slot, 12 * MIB)).toBe(true);
    expect(ledger.exchange(ledger.enter('greedy'), 0, MIB)).toBe(false);
    expect(ledger.exchange(ledger.enter('polite'), 0, MIB)).toBe(true);
    ledger.close(slot);
    expect(ledger.used).toBe(MIB);
    expect(ledger.exchange(ledger.enter('greedy'), 0, 11 * MIB)).toBe(true);
  });
});

describe('accounts', () => {
  it('are one for each caller, and free for others when its last request is over', () => {
    const ledger = Ledger.create(4, 16 * MIB);
    const [first, again, other] = ['a', 'a', 'b'].map((caller) => ledger.enter(caller));
    expect(again).toBe(first);
    expect(other).not.toBe(first);
    ledger.leave(first);
    expect(ledger.enter('a')).toBe(first);
    ledger.leave(first);
    ledger.leave(first);
    expect(ledger.enter('c')).toBe(first);
  });

  it('are as many as there may be; what comes beyond them shares one', () => {
    const ledger = Ledger.create(4, 16 * MIB);
    const accounts = Array.from({ length: 70_000 }, (_, i) => ledger.enter(`caller ${i}`));
    expect(new Set(accounts).size).toBe(2 ** 16);
    expect(accounts.at(-1)).toBe(accounts.at(-2));
    for (const account of accounts) ledger.leave(account);
    expect(new Set(['x', 'y'].map((caller) => ledger.enter(caller))).size).toBe(2);
  });
});

describe('places', () => {
  it('are given to anybody, and some more to callers that have nearly none', () => {
    const ledger = Ledger.create(32, 16 * MIB); // 8 more, of which 2 for one caller
    const greedy = Array.from({ length: 40 }, () => ledger.open('greedy')).filter((slot) => slot !== undefined);
    expect(greedy).toHaveLength(32);
    const polite = Array.from({ length: 4 }, () => ledger.open('polite')).filter((slot) => slot !== undefined);
    expect(polite).toHaveLength(2);
    expect([ledger.hasPlace('greedy'), ledger.hasPlace('polite'), ledger.hasPlace('third')]).toEqual([
      false,
      false,
      true,
    ]);
    for (let i = 0; i < 6; i++) expect(ledger.open(`other ${i}`)).toBeDefined();
    expect(ledger.hasPlace('last')).toBe(false);
    for (const slot of greedy) ledger.close(slot);
    expect(ledger.hasPlace('greedy')).toBe(true);
  });
});
