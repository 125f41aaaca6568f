/** npm run chaos: what goes wrong in production, on purpose. See HELP. */

import { parseArgs } from 'node:util';
import { argumentsOr } from '../arguments.js';
import { ATTACKS } from './attacks/attacks.js';
import { print } from './report.js';
import type { Scenario } from './scenario.js';
import { aborts } from './scenarios/aborts.js';
import { faults } from './scenarios/faults.js';
import { floods } from './scenarios/floods.js';
import { hostile } from './scenarios/hostile.js';
import { kills } from './scenarios/kills.js';
import { memory } from './scenarios/memory.js';
import { redis } from './scenarios/redis.js';
import { restarts } from './scenarios/restarts.js';
import { slow } from './scenarios/slow.js';

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  kills,
  faults,
  aborts,
  slow,
  floods,
  memory,
  redis,
  restarts,
  hostile,
};

const HELP = `npm run chaos -- [scenario …] [options]; without a scenario: all of them but hostile, some of whose promises are not kept yet

${Object.entries(SCENARIOS)
  .map(([name, { what, times }]) => `  ${name.padEnd(9)} ${what} (${times})`)
  .join('\n')}

  --times   how often, or how many clients; by default the number behind each scenario
  --seed    of the requests' numbers (the time)
  --short   fewer
  --only    of hostile: these attacks, separated by commas (${Object.keys(ATTACKS).join(', ')})

Every answer is compared with the known one. Lines that start with { are for programs. Exits with 1 when a promise is broken.`;

function readArguments() {
  const text = { type: 'string' } as const;
  const options = { times: text, seed: text, only: text, short: { type: 'boolean', default: false } } as const;
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  const wrong = positionals.find((name) => !Object.hasOwn(SCENARIOS, name));
  if (wrong !== undefined) throw new Error(`${wrong} is none of ${Object.keys(SCENARIOS).join(', ')}`);
  const only = values.only?.split(',');
  const unknown = only?.find((name) => !Object.hasOwn(ATTACKS, name));
  if (unknown !== undefined) throw new Error(`${unknown} is none of ${Object.keys(ATTACKS).join(', ')}`);
  const numberOf = (name: 'times' | 'seed'): number | undefined => {
    const value = values[name];
    if (value !== undefined && !(Number(value) > 0)) throw new Error(`--${name} ${value} is no number above 0`);
    return value === undefined ? undefined : Math.floor(Number(value));
  };
  return {
    names: positionals.length > 0 ? positionals : Object.keys(SCENARIOS).filter((name) => name !== 'hostile'),
    times: numberOf('times'),
    seed: numberOf('seed') ?? Date.now() % 2 ** 20,
    short: values.short,
    only,
  };
}

async function chaos({ names, times, seed, short, only }: ReturnType<typeof readArguments>): Promise<boolean> {
  let kept = true;
  for (const name of names) {
    const scenario = SCENARIOS[name];
    const start = performance.now();
    const { figures, findings, skipped } = await scenario.run({
      times: times ?? (short ? scenario.short : scenario.times),
      seed,
      short,
      ...(only && { only }),
    });
    if (skipped !== undefined) console.log(`${name}: left out, because ${skipped}`);
    else
      kept =
        print(name, { seed, took_s: Math.round((performance.now() - start) / 1000), ...figures }, findings) && kept;
  }
  return kept;
}

process.exit((await chaos(argumentsOr(HELP, readArguments))) ? 0 : 1);
