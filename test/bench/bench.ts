/** npm run bench: how fast is it, and how large? See HELP. */

import { appendFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { TIERS } from '../../src/kernels/kernels.js';
import { argumentsOr } from '../arguments.js';
import { builds } from './builds.js';
import { codec } from './codec.js';
import { engine } from './engine.js';
import { http } from './http.js';
import { memory } from './memory.js';
import { micro } from './micro.js';
import type { Figure, Part, Plan } from './part.js';
import { DTYPES, dimsOf, measured, sizes } from './requests.js';
import { start } from './start.js';
import { vectors } from './vectors.js';

const PARTS: Readonly<Record<string, Part>> = { micro, vectors, codec, engine, http, start, memory };

const HELP = `npm run bench -- [part …] [options]; without a part: all of them

${Object.entries(PARTS)
  .map(([name, { what, seconds }]) => `  ${name.padEnd(13)} ${what}${seconds > 0 ? ` (${seconds} s each)` : ''}`)
  .join('\n')}

  --sizes       of ${sizes.join(', ')}; by default what each part takes without hours
  --dtypes      of ${DTYPES.join(', ')}
  --tiers       of ${TIERS.join(', ')}; by default all that this Node has, scalar up to medium
  --operations  of ${measured.map(({ id }) => id).join(', ')}
  --seconds     how long each thing is measured, at least five times
  --fresh       engine and http: also with weights that were not there before
  --workers     http and start: numbers of workers, such as 1,2
  --connections http: requests under way at a time
  --quick       the LSTM, tiny and small, a twentieth of the time: shows that everything runs; the figures are rough
  --json        a file for the lines, beside the output

Tables are for people; each line that starts with { is one figure for programs.`;

interface Arguments {
  readonly parts: readonly string[];
  readonly plan: Plan;
  readonly seconds: number | undefined;
  readonly json: string | undefined;
}

/** @throws Error that says which argument is wrong */
function readArguments(): Arguments {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      sizes: text,
      dtypes: text,
      tiers: text,
      operations: text,
      seconds: text,
      fresh: flag,
      workers: text,
      connections: text,
      quick: flag,
      json: text,
    },
  });
  const listOf = <Item extends string>(name: keyof typeof values, all: readonly Item[]): Item[] | undefined => {
    const names = (values[name] as string | undefined)?.split(',');
    const wrong = names?.find((one) => !(all as readonly string[]).includes(one));
    if (wrong !== undefined) throw new Error(`--${name}: ${wrong} is none of ${all.join(', ')}`);
    return names as Item[] | undefined;
  };
  const numbersOf = (name: 'seconds' | 'workers' | 'connections'): number[] | undefined => {
    const numbers = values[name]?.split(',').map(Number);
    if (numbers?.some((number) => !(number > 0))) throw new Error(`--${name} ${values[name]} is no number above 0`);
    return numbers;
  };
  const part = positionals.find((name) => !Object.hasOwn(PARTS, name));
  if (part !== undefined) throw new Error(`${part} is none of the parts ${Object.keys(PARTS).join(', ')}`);

  const { quick, fresh, json } = values;
  const ids = listOf(
    'operations',
    measured.map(({ id }) => id),
  );
  const plan: Plan = {
    sizes: listOf('sizes', sizes) ?? (quick ? ['tiny', 'small'] : undefined),
    dtypes: listOf('dtypes', DTYPES) ?? DTYPES,
    tiers: listOf('tiers', TIERS),
    operations: measured.filter(({ id }) => (ids ? ids.includes(id) : !quick || id.startsWith('lstm'))),
    seconds: 0, // each part's own
    fresh,
    workers: numbersOf('workers'),
    connections: numbersOf('connections')?.[0],
    quick,
  };
  return {
    parts: positionals.length > 0 ? positionals : Object.keys(PARTS),
    plan,
    seconds: numbersOf('seconds')?.[0],
    json,
  };
}

async function bench({ parts, plan, seconds, json }: Arguments): Promise<void> {
  if (json !== undefined) writeFileSync(json, '');
  const print = (figure: Figure) => {
    const line = JSON.stringify(figure);
    console.log(line);
    if (json !== undefined) appendFileSync(json, `${line}\n`);
  };
  print(machine());
  console.log(`\n${sizes.map(describe).join('\n')}\n`);
  for (const name of parts) {
    const part = PARTS[name];
    const reports = await part.measure({ ...plan, seconds: seconds ?? part.seconds / (plan.quick ? 20 : 1) });
    for (const { title, table, figures } of reports) {
      console.log(`${title}\n\n${table}\n`);
      for (const figure of figures) print(figure);
      console.log();
    }
  }
}

function machine() {
  return {
    bench: 'machine',
    node: process.version,
    cpu: cpus()[0]?.model.trim(),
    cores: availableParallelism(),
    tiers: [...builds.keys()],
  };
}

function describe(size: string): string {
  const { n_x, n_a, n_y, m, T_x } = dimsOf(size);
  return `${size}: n_x ${n_x}, n_a ${n_a}, n_y ${n_y}, m ${m}, T_x ${T_x}`;
}

await bench(argumentsOr(HELP, readArguments));
