import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Turns } from '../../src/http/turns.js';

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

  it('begin one after the other what comes with many, and the event loop has its turn between them', async () => {
    const { turns, begun, bring } = recorded();
    bring('a', 8);
    expect(turns.mayBegin()).toBe(false);
    turns.wait('a', () => begun.push('last'));
    bring('a', 20);
    for (let length = 8; length <= 28; length++) {
      expect(begun).toHaveLength(length);
      await turn();
    }
    expect(begun.indexOf('last')).toBe(8);
    await turn();
    expect(begun).toHaveLength(29);
  });

  it('are taken by lines: who brings one is not behind those of one who brings thousands', async () => {
    const { begun, bring } = recorded();
    bring('many', 5000);
    bring('one', 1);
    await turn();
    await turn();
    expect(begun.slice(8)).toEqual(['many', 'one']);
    bring('two', 2);
    for (let i = 0; i < 4; i++) await turn();
    expect(begun.slice(10)).toEqual(['many', 'two', 'many', 'two']);
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
