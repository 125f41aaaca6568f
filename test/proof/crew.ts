import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ATTACKS } from './attacks/attacks.js';
import { Siege, type Target } from './attacks/siege.js';

/** Processes that attack. They yield to everybody else's: an attacker has a machine of its own. */
export interface Crews {
  begin(attack: string, target: Omit<Target, 'crew' | 'crews'>): void;
  /** Ends the attack at once. */
  end(): Promise<Acted>;
  stop(): void;
}

/** What an attack came to. */
export interface Acted {
  /** Processor time that the attacker took itself. */
  readonly cpu_s: number;
  /** By code, status, or what else became of connections. */
  readonly answers: Readonly<Record<string, number>>;
}

const file = fileURLToPath(import.meta.url);
/** More than one, since one process may have too few file descriptors. */
const CREWS = 2;
/** Behind the threads of the service that compute, too. */
const NICE = 19;

export async function startCrews(): Promise<Crews> {
  const children = Array.from({ length: CREWS }, () => fork(file));
  const died = Promise.race(children.map((child) => once(child, 'exit'))).then(
    ([code]) => `an attacker exited with ${code}`,
  );
  await Promise.all(children.map((child) => once(child, 'message')));
  return {
    begin(attack, target) {
      for (const [crew, child] of children.entries()) {
        child.send({ attack, target: { ...target, crew, crews: CREWS } } satisfies Order);
      }
    },
    async end() {
      const all = await Promise.all(
        children.map(async (child) => {
          child.send({} satisfies Order);
          const acted = await Promise.race([once(child, 'message').then(([message]) => message as Acted), died]);
          if (typeof acted === 'string') throw new Error(acted);
          return acted;
        }),
      );
      const answers: Record<string, number> = {};
      for (const [what, count] of all.flatMap((acted) => Object.entries(acted.answers))) {
        answers[what] = (answers[what] ?? 0) + count;
      }
      return { cpu_s: all.reduce((sum, { cpu_s }) => sum + cpu_s, 0), answers };
    },
    stop() {
      for (const child of children) child.disconnect();
    },
  };
}

/** Without an attack: end. */
interface Order {
  readonly attack?: string;
  readonly target?: Target;
}

/** For connections to be reset. */
const FAREWELL_MS = 50;

if (process.argv[1] === file) {
  setPriority(NICE);
  process.once('disconnect', () => process.exit()); // whoever began it may have been killed
  let ending = new AbortController();
  let siege: Siege | undefined;
  let before = process.cpuUsage();
  process.on('message', async ({ attack, target }: Order) => {
    if (attack !== undefined && target !== undefined) {
      before = process.cpuUsage();
      ending = new AbortController();
      siege = new Siege(target, ending.signal);
      await ATTACKS[attack].act(siege);
      return;
    }
    ending.abort();
    await sleep(FAREWELL_MS);
    const { user, system } = process.cpuUsage(before);
    process.send?.({ cpu_s: (user + system) / 1e6, answers: siege?.answers ?? {} } satisfies Acted);
  });
  process.send?.('ready');
}
