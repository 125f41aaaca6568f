import { describe, expect, it } from 'vitest';
import { type Job, Queue } from '../../src/compute/queue.js';

const KIB = 1024;
const [SMALL, LIGHT, HEAVY] = [KIB, 100 * KIB, 2000 * KIB];
let came = 0;

/** A request whose body has so many bytes; each came after the one before. */
const request = (bytes: number, more: Partial<Job> = {}): Job => {
  const order = came++;
  return {
    name: 'requests',
    task: undefined,
    slot: order,
    order,
    bytes,
    since: -1000, // it has gathered long enough
    wasLost: false,
    resolve: () => {},
    reject: () => {},
    ...more,
  };
};
const partOf = ({ slot, order }: Job): Job => request(0, { name: 'block', slot, order });

function queueOf(...jobs: Job[]): Queue {
  const queue = new Queue();
  for (const job of jobs) queue.add(job);
  return queue;
}

/** Takes until nothing is left, as one worker that is done at once. */
function takeAll(queue: Queue): Job[][] {
  const taken: Job[][] = [];
  for (let jobs = queue.take(); jobs.length > 0; jobs = queue.take()) {
    taken.push([...jobs]);
    queue.isDone(jobs);
  }
  return taken;
}

describe('the queue', () => {
  it('is empty at first', () => {
    const queue = new Queue();
    expect(queue.take()).toEqual([]);
    expect([queue.requests, queue.wait]).toEqual([0, Number.POSITIVE_INFINITY]);
  });

  it('takes light requests and heavy ones by turns, in each line the older ones first', () => {
    const heavy = [1, 2, 3].map(() => request(HEAVY));
    const light = [1, 2, 3].map(() => request(LIGHT));
    const [a, b, c] = light;
    const [x, y, z] = heavy;
    expect(takeAll(queueOf(...heavy, ...light))).toEqual([[a], [x], [b], [y], [c], [z]]);
  });

  it('takes a heavy request before the parts of what came later, however many there are', () => {
    const before = request(LIGHT);
    const heavy = request(HEAVY);
    const [, ...after] = [1, 2, 3].map(() => request(LIGHT));
    const parts = [...after, before].map(partOf);
    const [second, third, first] = parts;
    expect(takeAll(queueOf(...parts, heavy))).toEqual([[first], [heavy], [second], [third]]);
  });

  it('takes the parts of what has begun before what came later', () => {
    const begun = request(HEAVY);
    const later = request(HEAVY);
    const parts = [partOf(begun), partOf(begun)];
    expect(takeAll(queueOf(later, ...parts))).toEqual([[parts[0]], [parts[1]], [later]]);
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
    const first = queue.take();
    queue.add(request(SMALL, { since: now }));
    expect(queue.take()).toEqual([]);
    expect(queue.wait).toBeGreaterThan(0);
    expect(queue.wait).toBeLessThanOrEqual(5);
    queue.isDone(first);
    expect(queue.take()).toHaveLength(1);
  });

  it('forgets a request with all that belongs to it', () => {
    const [small, light, heavy] = [request(SMALL), request(LIGHT), request(HEAVY)];
    const queue = queueOf(small, partOf(light), partOf(light), partOf(heavy), heavy);
    expect(queue.requests).toBe(2);
    expect(queue.remove(light.slot)).toHaveLength(2);
    expect(queue.remove(heavy.slot)).toHaveLength(2);
    expect(queue.remove(small.slot)).toEqual([small]);
    expect([queue.take(), queue.requests, queue.wait]).toEqual([[], 0, Number.POSITIVE_INFINITY]);
  });
});
