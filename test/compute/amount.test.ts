import { describe, expect, it } from 'vitest';
import { amount } from '../../src/compute/amount.js';
import { Ledger } from '../../src/compute/ledger.js';
import { observations, observe } from '../../src/http/monitoring/histogram.js';

describe('what is no amount', () => {
  const wrong = [Number.NaN, Number.POSITIVE_INFINITY, -1, undefined as unknown as number];

  it.each(wrong)('%s is named where it would be added', (value) => {
    expect(() => amount('the size', value)).toThrow(`the size is ${value}, which`);
  });

  it.each(wrong)('%s does not get into the memory budget', (value) => {
    const ledger = Ledger.create(2, 2 ** 30);
    const slot = ledger.open('one') as number;
    ledger.take(slot, 2 ** 20);
    expect(() => ledger.take(slot, value)).toThrow(RangeError);
    expect(() => ledger.exchange(0, 0, value)).toThrow(RangeError);
    expect(() => ledger.charge(0, 0, value)).toThrow(RangeError);
    expect(ledger.used).toBe(2 ** 20);
  });

  it.each(wrong)('%s does not get into a histogram', (value) => {
    const into = observations({});
    observe(into, 1);
    expect(() => observe(into, value)).toThrow(RangeError);
    expect(into.sum).toBe(1);
    expect(into.counts.reduce((sum, count) => sum + count)).toBe(1);
  });

  it('is not 0', () => {
    expect([amount('the size', 0), amount('the size', 2.5)]).toEqual([0, 2.5]);
  });
});
