import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { Turns } from '../../../src/http/connections/turns.js';

/** Turns, and the names of what they have begun. */
function recorded() {
  const turns = new Turns();
  const begun: string[] = [];
  const bring = (line: string, count: number) => {
    for (let i = 0; i < count; i++) {
      if (turns.mayBegin()) begun.push(line);
      else turns.wait(line, () => begun.push(line));
    }
  };
  return { turns, begun, bring };
}

describe('turns', () => {
  it('begin at once what comes alone or with a few others', async () => {
    const { begun, bring } = recorded();
    for (let i = 1; i <= 3; i++) {
      bring('a', 8);
      expect(begun).toHaveLength(8 * i);
      await turn();
    }
  });

  it('begin a few in a turn of the event loop where many come', async () => {
    const { turns, begun, bring } = recorded();
    bring('a', 8);
    expect(turns.mayBegin()).toBe(false);
    turns.wait('a', () => begun.push('last'));
    bring('a', 20);
    for (let before = begun.length; begun.length < 29; before = begun.length) {
      await turn();
      expect(begun.length - before).toBeGreaterThan(0);
      expect(begun.length - before).toBeLessThanOrEqual(8);
    }
    expect(begun.indexOf('last')).toBe(8);
  });

  it('begin fewer where each takes long', async () => {
    const { turns, begun, bring } = recorded();
    bring('a', 8);
    for (let i = 0; i < 4; i++) {
      turns.wait('a', () => {
        begun.push('long');
        const end = performance.now() + 3;
        while (performance.now() < end);
      });
    }
    for (let length = 9; length <= 12; length++) {
      await turn();
      expect(begun).toHaveLength(length);
    }
  });

  it('leave the event loop alone while it accepts connections, but not for long', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      const { turns, begun, bring } = recorded();
      bring('a', 30);
      await turn();
      expect(begun).toHaveLength(16);
      for (const [ms, length] of [
        [0, 16],
        [6, 16],
        [2, 24],
        [1, 24],
      ]) {
        vi.advanceTimersByTime(ms);
        turns.accepted();
        await turn();
        expect(begun).toHaveLength(length);
      }
      await turn();
      expect(begun).toHaveLength(30);
    } finally {
      vi.useRealTimers();
    }
  });

  it('are taken by lines: who brings one is not behind those of one who brings thousands', async () => {
    const { begun, bring } = recorded();
    bring('many', 5000);
    bring('one', 1);
    bring('two', 2);
    for (let i = 0; i < 8 && begun.length < 16; i++) await turn();
    expect(begun.slice(8, 16)).toEqual(['many', 'one', 'two', 'many', 'two', 'many', 'many', 'many']);
  });

  it('that are hurried begin everything, and nothing waits from then on', () => {
    const { turns, begun, bring } = recorded();
    bring('a', 100);
    turns.hurry();
    expect(begun).toHaveLength(100);
    bring('b', 100);
    expect(begun).toHaveLength(200);
  });
});
