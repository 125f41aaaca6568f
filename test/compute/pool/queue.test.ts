import { describe, expect, it } from 'vitest';
import { type Job, Queue } from '../../../src/compute/pool/queue.js';

const KIB = 1024;
const [SMALL, LIGHT, HEAVY] = [KIB, 100 * KIB, 2000 * KIB];
let came = 0;

/** A request whose body has so many bytes; each has a later turn than the one before. */
const request = (bytes: number, more: Partial<Job> = {}): Job => {
  const slot = came++;
  return {
    name: 'requests',
    task: undefined,
    slot,
    caller: 'one',
    turn: slot,
    bytes,
    ms: 1,
    since: -1000, // it has gathered long enough
    wasLost: false,
    resolve: () => {},
    reject: () => {},
    ...more,
  };
};
const partOf = ({ slot, turn }: Job): Job => request(0, { name: 'block', slot, turn });

function queueOf(...jobs: Job[]): Queue {
  const queue = new Queue();
  for (const job of jobs) queue.add(job);
  return queue;
}

const anybody = () => true;

/** Takes until nothing is left, as one thread that is done at once. */
function takeAll(queue: Queue, take = (): readonly Job[] => queue.takeLight()): Job[][] {
  const taken: Job[][] = [];
  for (let jobs = take(); jobs.length > 0; jobs = take()) {
    taken.push([...jobs]);
    queue.isDone(jobs, 0);
  }
  return taken;
}
const takeAllHeavy = (queue: Queue) => takeAll(queue, () => queue.takeHeavy(anybody)).flat();

describe('the queue', () => {
  it('is empty at first', () => {
    const queue = new Queue();
    expect([queue.takeLight(), queue.takeHeavy(anybody)]).toEqual([[], []]);
    expect([queue.requests, queue.hasHeavy, queue.wait]).toEqual([0, false, Number.POSITIVE_INFINITY]);
  });

  it('keeps light requests and heavy ones apart, each by their turns', () => {
    const heavy = [1, 2, 3].map(() => request(HEAVY));
    const light = [1, 2, 3].map(() => request(LIGHT));
    const queue = queueOf(...heavy.toReversed(), ...light.toReversed());
    expect(takeAll(queue).flat()).toEqual(light);
    expect(takeAllHeavy(queue)).toEqual(heavy);
  });

  it('takes the parts of what has begun before what came later, and a heavy request before the parts of later ones', () => {
    const [begun, heavy, light] = [request(HEAVY), request(HEAVY), request(LIGHT)];
    const [first, second, last] = [partOf(begun), partOf(begun), partOf(light)];
    expect(takeAllHeavy(queueOf(last, heavy, first, second))).toEqual([first, second, heavy, last]);
  });

  it('passes over the heavy work of callers that may not begin any', () => {
    const [a, b, c] = ['one', 'other', 'one'].map((caller) => request(HEAVY, { caller }));
    const queue = queueOf(a, b, c);
    expect(queue.heavyThatMayBegin((caller) => caller === 'one')).toBe(2);
    expect(queue.takeHeavy((caller) => caller === 'other')).toEqual([b]);
    expect(queue.takeHeavy((caller) => caller === 'other')).toEqual([]);
    expect(takeAllHeavy(queue)).toEqual([a, c]);
  });

  it('keeps the order of small requests and light ones, and lets small ones share a message', () => {
    const [a, b, c] = [request(SMALL), request(LIGHT), request(SMALL)];
    const [d, e] = [request(SMALL), request(LIGHT)];
    expect(takeAll(queueOf(a, b, c, d, e))).toEqual([[a, c, d], [b], [e]]);
    const [f, g] = [request(LIGHT), request(SMALL)];
    expect(takeAll(queueOf(f, g))).toEqual([[f], [g]]);
  });

  it('fills a message with 64 KiB, and sends those alone that a thread has died with', () => {
    const many = Array.from({ length: 20 }, () => request(8 * KIB));
    expect(takeAll(queueOf(...many)).map((jobs) => jobs.length)).toEqual([8, 8, 4]);
    const lost = [request(SMALL), request(SMALL, { wasLost: true }), request(SMALL)];
    expect(takeAll(queueOf(...lost)).map((jobs) => jobs.length)).toEqual([1, 1, 1]);
  });

  it('lets small requests gather while a message of others is underway', () => {
    const now = performance.now();
    const queue = queueOf(request(SMALL, { since: now }));
    expect(queue.wait).toBe(0);
    const first = queue.takeLight();
    queue.add(request(SMALL, { since: now }));
    expect(queue.takeLight()).toEqual([]);
    expect(queue.wait).toBeGreaterThan(0);
    expect(queue.wait).toBeLessThanOrEqual(5);
    queue.isDone(first, 0);
    expect(queue.takeLight()).toHaveLength(1);
  });

  it('forgets a request with all that belongs to it', () => {
    const [small, light, heavy] = [request(SMALL), request(LIGHT), request(HEAVY)];
    const queue = queueOf(small, partOf(light), partOf(light), partOf(heavy), heavy);
    expect(queue.requests).toBe(2);
    expect(queue.remove(light.slot)).toHaveLength(2);
    expect(queue.remove(heavy.slot)).toHaveLength(2);
    expect(queue.remove(small.slot)).toEqual([small]);
    expect([queue.takeLight(), queue.hasHeavy, queue.requests, queue.wait]).toEqual([
      [],
      false,
      0,
      Number.POSITIVE_INFINITY,
    ]);
  });
});

describe('callers take turns', () => {
  /** Adds a request as the pool does. */
  const ask = (queue: Queue, caller: string, ms: number, bytes = LIGHT): Job => {
    const job = request(bytes, { caller, ms, turn: queue.turnOf(caller, bytes === HEAVY) });
    queue.add(job);
    return job;
  };
  const callersOf = (jobs: readonly Job[]) => jobs.map(({ caller }) => caller).join('');

  it.each([LIGHT, HEAVY])(
    'one that comes with little is served before the rest of what another has asked for',
    (bytes) => {
      const queue = new Queue();
      for (let i = 0; i < 100; i++) ask(queue, 'A', 10, bytes);
      const take = () => (bytes === HEAVY ? queue.takeHeavy(anybody) : queue.takeLight());
      for (let i = 0; i < 50; i++) take();
      ask(queue, 'b', 1, bytes);
      ask(queue, 'b', 1, bytes);
      const next = [take(), take(), take(), take()].flat();
      expect(callersOf(next)).toMatch(/^A?bb?A/);
      expect(callersOf(next)).toMatch(/b.?b/);
    },
  );

  it('two that ask for as much as they can get the same time, whatever they ask for', () => {
    const queue = new Queue();
    for (let i = 0; i < 300; i++) ask(queue, 'A', 1);
    for (let i = 0; i < 30; i++) ask(queue, 'b', 10);
    const taken = Array.from({ length: 110 }, () => queue.takeLight()).flat();
    const time = (caller: string) => taken.filter((job) => job.caller === caller).reduce((sum, { ms }) => sum + ms, 0);
    expect(Math.abs(time('A') - time('b'))).toBeLessThanOrEqual(10);
  });

  it('one that was away has saved nothing up', () => {
    const queue = new Queue();
    for (let i = 0; i < 100; i++) {
      ask(queue, 'A', 10);
      queue.takeLight();
    }
    for (let i = 0; i < 10; i++) for (const caller of ['A', 'b']) ask(queue, caller, 10);
    const taken = callersOf(Array.from({ length: 10 }, () => queue.takeLight()).flat());
    expect(taken.match(/A/g)?.length).toBeGreaterThanOrEqual(4);
  });

  it('what takes longer than was thought counts', () => {
    const queue = new Queue();
    for (let i = 0; i < 10; i++) for (const caller of ['A', 'b']) ask(queue, caller, 1);
    let served = '';
    for (let jobs = queue.takeLight(); jobs.length > 0; jobs = queue.takeLight()) {
      served += callersOf(jobs);
      queue.isDone(jobs, jobs[0].caller === 'A' ? 5 : 1);
      const [{ caller }] = jobs;
      if (served.length < 200) ask(queue, caller, 1);
    }
    const share = (served.slice(0, 200).match(/A/g)?.length ?? 0) / 200;
    expect(share).toBeLessThan(0.3);
  });

  it('heavy work does not delay the light work of its caller', () => {
    const queue = new Queue();
    ask(queue, 'A', 60_000, HEAVY);
    for (let i = 0; i < 10; i++) ask(queue, 'b', 1);
    ask(queue, 'A', 1);
    expect(callersOf(Array.from({ length: 3 }, () => queue.takeLight()).flat())).toContain('A');
  });

  it('a time that is none is refused, and spoils nothing', () => {
    const queue = new Queue();
    expect(() => queue.add(request(LIGHT, { ms: Number.NaN }))).toThrow(/cannot be added/);
    expect(queue.requests).toBe(0);
  });
});
