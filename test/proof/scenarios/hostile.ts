import { setTimeout as sleep } from 'node:timers/promises';
import { cpuMs } from '../../bench/process.js';
import { rounded } from '../../bench/statistics.js';
import { type Service, startService } from '../../service/process.js';
import type { Attack } from '../attacks/attack.js';
import { ATTACKS, TRIALS } from '../attacks/attacks.js';
import { environmentOf, type Kind, politeHeaders, SERVICES, targetOf } from '../attacks/services.js';
import { type Company, type Seen, startCompany, times } from '../company.js';
import { type Crews, startCrews } from '../crew.js';
import { ceilingMib, watchPeak } from '../memory.js';
import { type Finding, finding, total } from '../report.js';
import type { Scenario } from '../scenario.js';
import { catalogueFor, poolGauges } from '../subject.js';
import { type Keepsake, keep } from './keepsake.js';

/** The part of an attack's time in which nobody attacks, so that it is known what is usual. */
const QUIET_SHARE = 0.25;
/** When an attack is over, so long at most until nothing of it is left. */
const REST_MS = 10_000;
/** All of it at once goes on for so many times the time of one. */
const WEIGHT_OF_EVERYTHING = 2;

const LIVE_LIMIT_MS = 50;
const TINY_LIMIT_MS = 250;
const MEDIUM_FACTOR = 3;
/** What a malformed request may change of how fast others are answered. */
const LEAST_RATE = 0.9;

/** A service that is attacked, and what the polite caller has stored in it. */
interface Subject {
  readonly kind: Kind;
  readonly service: Service;
  readonly keepsake: Keepsake;
}

export const hostile: Scenario = {
  what: 'seconds of attacks, one after the other: are others served meanwhile?',
  times: 600,
  short: 20,
  async run({ times: seconds, seed, short, only }) {
    const names = only ?? Object.keys(ATTACKS);
    const weightOf = (name: string) => (name === 'everything' ? WEIGHT_OF_EVERYTHING : 1);
    const each = seconds / names.reduce((sum, name) => sum + weightOf(name), 0);

    const crews = await startCrews();
    let company: Company | undefined;
    let subject: Subject | undefined;
    const figures: Record<string, object> = {};
    const findings: Finding[] = [];
    try {
      for (const name of names) {
        const share = each * weightOf(name);
        if (Object.hasOwn(TRIALS, name)) {
          const tried = await TRIALS[name].try({ name, crews, seconds: share, short });
          figures[name] = tried.figures;
          findings.push(...ofAttack(name, tried.findings));
        } else {
          const attack = ATTACKS[name];
          if (subject?.kind !== attack.service) {
            await subject?.service.stop();
            subject = await prepare(attack.service);
            company ??= await startCompany(subject.service.url, await catalogueFor(subject.service, seed, short));
            company.aim(subject.service.url, politeHeaders(subject.kind));
          }
          const seen = await besiege({ name, attack, subject, company: company as Company, crews, share, short });
          figures[name] = seen.figures;
          findings.push(...ofAttack(name, seen.findings));
          // What an attack has left behind is not the next one's; only a short run has no time for that.
          if (!short || !seen.isIdle) {
            await subject.service.stop();
            subject = undefined;
          }
        }
        console.log(`  ${name}: ${JSON.stringify(figures[name])}`);
      }
    } finally {
      company?.stop();
      crews.stop();
      await subject?.service.stop();
    }
    return { figures: { attacks: figures }, findings };
  },
};

function ofAttack(name: string, findings: readonly Finding[]): Finding[] {
  return findings.map((one) => ({ ...one, promise: `${name}: ${one.promise}` }));
}

async function prepare(kind: Kind): Promise<Subject> {
  const service = await startService(environmentOf(kind));
  return { kind, service, keepsake: await keep(service.url, politeHeaders(kind)) };
}

interface Siege {
  readonly name: string;
  readonly attack: Attack;
  readonly subject: Subject;
  readonly company: Company;
  readonly crews: Crews;
  readonly share: number;
  readonly short: boolean;
}

async function besiege({ name, attack, subject, company, crews, share, short }: Siege) {
  const { service, kind, keepsake } = subject;
  const quiet = QUIET_SHARE * share;
  const rate = () => (attack.spoils ? company.rate(quiet) : undefined);
  const [usual] = await company.observe(quiet, async () => {});
  const rateBefore = await rate();

  const peak = watchPeak(service.pid);
  const cpuBefore = cpuMs(service.pid);
  crews.begin(name, targetOf(service, kind));
  const [seen, acted] = await company.observe(share - quiet, () => crews.end());
  const cpu_s = (cpuMs(service.pid) - cpuBefore) / 1000;
  const rest = await restOf(subject);
  const peak_mib = peak.stop();
  const rateAfter = await rate();
  const kept = await keepsake.isKept();

  const ceiling_mib = ceilingMib(SERVICES[kind]);
  const figures = {
    what: attack.what,
    seconds: rounded(share - quiet),
    live_ms: times(seen.live).p99_ms,
    bare_ms: times(seen.bare).p99_ms,
    tiny_ms: times(seen.tiny),
    tiny_usual_ms: times(usual.tiny),
    medium_ms: times(seen.medium),
    medium_usual_ms: times(usual.medium),
    peak_mib,
    ceiling_mib,
    service_cpu_s: rounded(cpu_s),
    attacker_cpu_s: rounded(acted.cpu_s),
    answers: acted.answers,
    ...(rateBefore && rateAfter && { before_per_s: rounded(rateBefore), after_per_s: rounded(rateAfter) }),
  };
  const findings = [
    ...promisesTo(seen),
    ...(short ? [] : timesOf(usual, seen)),
    finding(`resident memory stays under ${ceiling_mib} MiB`, peak_mib < ceiling_mib, `${peak_mib} MiB`),
    finding(`nothing of it is left ${REST_MS} ms later`, rest.isIdle, rest),
    finding('what others have stored is still there', kept === 'kept', kept),
  ];
  if (!short && rateBefore && rateAfter) {
    const seenRates = `${rounded(rateBefore)} → ${rounded(rateAfter)} requests/s`;
    findings.push(
      finding('afterwards others are answered as fast as before', rateAfter >= LEAST_RATE * rateBefore, seenRates),
    );
  }
  return { figures, findings, isIdle: rest.isIdle };
}

/** What holds however busy the machine is. */
function promisesTo({ live, tiny, medium }: Seen): Finding[] {
  const polite = [tiny, medium];
  const refused = polite.map((tally) => tally.refused);
  const lost = polite.map(({ failed, broken }) => ({ ...failed, ...broken }));
  const wrong = polite
    .flatMap(({ incidents }) => incidents.filter(({ kind }) => kind === 'wrong'))
    .map(({ detail }) => detail);
  const none = (counts: readonly Record<string, number>[]) => counts.every((one) => total(one) === 0);
  return [
    finding('/health/live answers always', live.right === live.sent, `${live.sent - live.right} of ${live.sent} not`),
    finding('no answer to the polite caller is wrong', wrong.length === 0, wrong.slice(0, 3)),
    finding('no request of the polite caller is refused', none(refused), refused),
    finding('no request of the polite caller fails', none(lost), lost),
  ];
}

/** What is told only of a short run, on a machine that may do other things beside. */
function timesOf(usual: Seen, seen: Seen): Finding[] {
  const [live, bare, tiny] = [seen.live, seen.bare, seen.tiny].map((tally) => times(tally).p99_ms);
  // What a server that does nothing else takes twice is the machine's.
  const liveLimit = Math.max(LIVE_LIMIT_MS, 2 * bare);
  const [before, during] = [usual.medium, seen.medium].map(times);
  return [
    finding(
      `p99 of /health/live is under ${LIVE_LIMIT_MS} ms, or twice the bare server's`,
      live < liveLimit,
      `${live} ms, ${bare} ms of the bare server`,
    ),
    finding(
      `p99 of the polite caller's tiny requests is under ${TINY_LIMIT_MS} ms`,
      tiny < TINY_LIMIT_MS,
      `${tiny} ms`,
    ),
    finding(
      `the median of its medium ones is under ${MEDIUM_FACTOR} times the usual one`,
      during.median_ms < MEDIUM_FACTOR * before.median_ms,
      `${during.median_ms} ms, usually ${before.median_ms}`,
    ),
    finding(
      `their worst is under ${MEDIUM_FACTOR} times the usual worst, or ${TINY_LIMIT_MS} ms`,
      during.worst_ms < Math.max(TINY_LIMIT_MS, MEDIUM_FACTOR * before.worst_ms),
      `${during.worst_ms} ms, usually ${before.worst_ms}`,
    ),
  ];
}

/** Waits until /metrics says that no place and no byte is taken. */
async function restOf({ service, kind }: Subject) {
  const start = performance.now();
  for (;;) {
    const gauges = await poolGauges(service.url, politeHeaders(kind)).catch(() => ({}));
    const ms = rounded(performance.now() - start);
    const values = Object.values(gauges);
    const isIdle = values.length > 0 && values.every((value) => value === 0);
    if (isIdle || ms > REST_MS) return { isIdle, ms, ...gauges };
    await sleep(100);
  }
}
