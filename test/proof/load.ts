import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { numbersFrom } from '../values.js';
import { type Case, MIX, type Size } from './catalogue.js';
import { type Ending, open, send } from './client.js';

/**
 * Load from a process of its own, so that what is measured is not held up by who measures. Every answer is compared with
 * the known one.
 */
export interface Loader {
  /** The same requests go to another service from now on. */
  aim(url: string): void;
  run(plan: Plan): Promise<Tally>;
  /** Ends a run before its time: nothing new is sent, and what is under way is waited for. */
  finish(): void;
  stop(): void;
}

export interface Plan {
  /** Requests under way at a time: in a closed loop always so many, in an open one at most. */
  readonly connections: number;
  /** Requests that are sent per second, whether those before were answered or not; absent: a closed loop. */
  readonly perSecond?: number;
  /** The run ends after this time or so many requests, whichever comes first. */
  readonly seconds?: number;
  readonly requests?: number;
  /** Does the client send again what was refused with 503 or could not be sent at all? */
  readonly retries?: boolean;
  /** Does the client go away at a random moment, before it has the whole answer? */
  readonly aborts?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly seed?: number;
}

/** What came of a run. */
export interface Tally {
  seconds: number;
  sent: number;
  /** With the known answer or refusal. */
  right: number;
  /** Not sent, because as many requests were under way as may be. */
  heldBack: number;
  /** Sent again. */
  retried: number;
  aborted: number;
  refused: Record<string, number>;
  /** 429 and 503 without Retry-After. */
  withoutRetryAfter: number;
  failed: Record<string, number>;
  broken: Record<string, number>;
  wrong: number;
  /** Milliseconds of the right answers. */
  latencies: number[];
  /** What was failed, broken or wrong, and when (milliseconds since the epoch): the first few. */
  incidents: { at: number; begun: number; kind: string; code: string; detail: string }[];
}

const file = fileURLToPath(import.meta.url);
const MOST_INCIDENTS = 1000;
/** Longer than any request may take, deadlines and queue included. */
const HUNG_MS = 60_000;

export async function startLoader(url: string, cases: readonly Case[]): Promise<Loader> {
  const child = fork(file, [], { serialization: 'advanced' });
  const died = once(child, 'exit').then(([code]) => `the load generator exited with ${code}`);
  child.send({ url, cases });
  await once(child, 'message');
  return {
    aim: (other) => child.send({ url: other }),
    async run(plan) {
      child.send({ plan });
      const tally = await Promise.race([once(child, 'message').then(([message]) => message as Tally), died]);
      if (typeof tally === 'string') throw new Error(tally);
      return tally;
    },
    finish: () => child.send({ finish: true }),
    stop: () => child.disconnect(),
  };
}

interface Message {
  readonly url?: string;
  readonly cases?: readonly Case[];
  readonly plan?: Plan;
  readonly finish?: boolean;
}

if (process.argv[1] === file) {
  let url = '';
  let cases: readonly Case[] = [];
  let finished = new AbortController();
  process.on('message', (message: Message) => {
    if (message.finish) finished.abort();
    if (message.url !== undefined) url = message.url;
    if (message.cases) {
      cases = message.cases;
      process.send?.('ready');
    }
    if (message.plan) {
      finished = new AbortController();
      void run(url, cases, message.plan, finished.signal).then((tally) => process.send?.(tally));
    }
  });
}

async function run(url: string, cases: readonly Case[], plan: Plan, finished: AbortSignal): Promise<Tally> {
  const { connections, perSecond, seconds = Number.POSITIVE_INFINITY, requests = Number.POSITIVE_INFINITY } = plan;
  const agent = new Agent({ keepAlive: true });
  const pick = picker(cases, plan.seed ?? 1);
  const tally = emptyTally();
  const start = performance.now();
  const end = start + seconds * 1000;
  const isOver = () => finished.aborted || tally.sent >= requests || performance.now() >= end;

  const one = async (): Promise<void> => {
    tally.sent++;
    if (plan.aborts) await abort(pick(), agent, url, tally);
    else await sendAndCount(pick(), agent, url, plan, tally);
  };
  if (perSecond === undefined) {
    await Promise.all(
      Array.from({ length: connections }, async () => {
        while (!isOver()) await one();
      }),
    );
  } else {
    const underway = new Set<Promise<void>>();
    for (let due = 0; !isOver(); ) {
      const now = Math.floor(((performance.now() - start) / 1000) * perSecond);
      for (; due < now; due++) {
        if (underway.size >= connections) {
          tally.heldBack++;
          continue;
        }
        const sent = one().finally(() => underway.delete(sent));
        underway.add(sent);
      }
      await sleep(1);
    }
    await Promise.all(underway);
  }
  tally.seconds = (performance.now() - start) / 1000;
  agent.destroy();
  return tally;
}

function emptyTally(): Tally {
  const counts = { sent: 0, right: 0, heldBack: 0, retried: 0, aborted: 0, withoutRetryAfter: 0, wrong: 0 };
  return { seconds: 0, ...counts, refused: {}, failed: {}, broken: {}, latencies: [], incidents: [] };
}

/** Cases in a random order, the sizes as often as the mix says. */
function picker(cases: readonly Case[], seed: number): () => Case {
  const random = numbersFrom(seed, 0.5);
  const below = (count: number) => Math.min(count - 1, Math.floor((random() + 0.5) * count));
  const bySize = (Object.keys(MIX) as Size[])
    .map((size) => cases.filter((one) => one.size === size))
    .filter(({ length }) => length > 0);
  const mixed = bySize.flatMap((ofSize) => Array<readonly Case[]>(MIX[ofSize[0].size]).fill(ofSize));
  return () => {
    const ofSize = mixed[below(mixed.length)];
    return ofSize[below(ofSize.length)];
  };
}

const RETRY_MS = 50;

async function sendAndCount(one: Case, agent: Agent, url: string, plan: Plan, tally: Tally): Promise<void> {
  const begun = Date.now();
  for (;;) {
    const start = performance.now();
    const { headers = {} } = plan;
    const ending = await send(one, { agent, url, headers, limit: HUNG_MS });
    const mayRetry = ending.kind === 'broken' || ending.code === 'draining' || ending.code === 'overloaded';
    if (plan.retries && mayRetry && Date.now() - begun < HUNG_MS) {
      tally.retried++;
      await sleep(RETRY_MS);
      continue;
    }
    count(tally, ending, begun, performance.now() - start);
    return;
  }
}

function count(tally: Tally, ending: Ending, begun: number, ms: number): void {
  const { kind, status, code, detail, retryAfter } = ending;
  if (kind === 'right') {
    tally.right++;
    tally.latencies.push(ms);
    return;
  }
  if (kind === 'wrong') tally.wrong++;
  else tally[kind][code] = (tally[kind][code] ?? 0) + 1;
  if ((status === 429 || status === 503) && !retryAfter) tally.withoutRetryAfter++;
  if (kind !== 'refused' && tally.incidents.length < MOST_INCIDENTS) {
    tally.incidents.push({ at: Date.now(), begun, kind, code, detail });
  }
}

/** After the body has been sent, so long at most until a client goes away. */
const PATIENCE_MS = 60;

/** Goes away at one of three moments: before the body is complete, while it waits, or at the first bytes of the answer. */
function abort(one: Case, agent: Agent, url: string, tally: Tally): Promise<void> {
  return new Promise((resolve) => {
    const outgoing = open(one, { agent, url });
    const leave = () => {
      tally.aborted++;
      outgoing.destroy();
    };
    const moment = Math.floor(Math.random() * 3);
    outgoing.once('error', () => {}).once('close', resolve);
    outgoing.once('response', (response) => {
      response.once('error', () => {});
      if (moment === 2) response.once('data', leave);
      else response.resume();
    });
    if (moment === 0) outgoing.write(one.body.subarray(0, Math.random() * one.body.length), () => setImmediate(leave));
    else outgoing.end(one.body);
    if (moment === 1) setTimeout(leave, Math.random() * PATIENCE_MS);
  });
}
