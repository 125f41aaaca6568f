import { loadJsonCodec } from '../../src/formats/json/codec.js';
import { readJson } from '../../src/formats/json/reader.js';
import { dtype as dtypeMember } from '../../src/operations/options.js';
import { group } from '../../src/tensor/signature.js';
import { arrayOf, type Dtype, reverseAxes, type Tensor, timeMajor } from '../../src/tensor/tensor.js';
import { writeJson } from '../ask.js';
import { tensor } from '../symbols.js';
import { flat, type Json, nested } from '../values.js';
import { type Part, progress, report } from './part.js';
import { dimsOf, fullNumbersFrom } from './requests.js';
import { rounded, sumOf, taken } from './statistics.js';
import { measureInTurns, type Subject, timedOften } from './turns.js';

/** Numbers as text: the codec of the service, its plain twin, and V8's own JSON. */
export const codec: Part = {
  what: 'JSON of one tensor, in ns per number, beside the plain codec and the JSON of V8',
  seconds: 0.5,
  async measure(plan) {
    const cases = (plan.sizes ?? ['tiny', 'medium']).flatMap((size) =>
      Object.keys(KINDS).flatMap((kind) => plan.dtypes.map((dtype) => ({ size, kind, dtype }))),
    );
    const figures = cases.flatMap((one) => {
      progress(`codec, ${Object.values(one).join(', ')}`);
      return [measure('read', one, plan.seconds), measure('write', one, plan.seconds)].flat();
    });
    const hard = Object.keys(HARD).flatMap((kind) => plan.dtypes.map((dtype) => ({ size: 'small', kind, dtype })));
    for (const one of hard) {
      progress(`codec, ${Object.values(one).join(', ')}`);
      figures.push(...measure('read', one, plan.seconds));
    }
    return [
      report('JSON: ns per number of a tensor (n_a, m, T_x)', figures, {
        direction: (f) => f.direction,
        size: (f) => f.size,
        numbers: (f) => f.numbers,
        dtype: (f) => f.dtype,
        count: (f) => f.count,
        codec: (f) => f.codec,
        'median ns': (f) => f.median_ns,
        'p10 ns': (f) => f.p10_ns,
        'p90 ns': (f) => f.p90_ns,
        '÷ V8': (f) => f.over_v8,
      }),
    ];
  },
};

/** What numbers are like. */
const KINDS: Readonly<Record<string, (value: number) => number>> = {
  random: (value) => value, // 17 digits
  short: (value) => Math.round(value * 1e4) / 1e4,
  integers: (value) => Math.round(value * 1e3),
};

/** Texts that are hard to read right, made of a number in ±1. */
const HARD: Readonly<Record<string, (value: number, dtype: Dtype) => string>> = {
  subnormal: (value, dtype) => String(value * 2 ** (dtype === 'float64' ? -1022 : -126)),
  '40 digits': (value) => value.toFixed(17) + digitsOf(value).repeat(2).slice(0, 23),
  '767 digits': (value) => value.toFixed(17) + digitsOf(value).repeat(50).slice(0, 750),
  // The middle between two numbers from 1 to 2, which has 53 digits behind the point, or 24.
  middle: (value, dtype) => (dtype === 'float64' ? middle(value, 52, 0) : middle(value, 23, 0)),
  // And between two of the smallest normal ones, which has 768 that are not zeros in front, or 113.
  'long middle': (value, dtype) => (dtype === 'float64' ? middle(value, 52, 1022) : middle(value, 23, 126)),
};

function digitsOf(value: number): string {
  return value.toFixed(17).split('.')[1];
}

/** All digits of an odd multiple of 2^-(bits + 1), from 1 to 2, times 2^-power. */
function middle(value: number, bits: number, power: number): string {
  const odd = 2n * BigInt(Math.floor(Math.abs(value) * 2 ** bits)) + 1n + (1n << BigInt(bits + 1));
  const places = bits + 1 + power;
  const digits = String(odd * 5n ** BigInt(places)).padStart(places + 1, '0');
  return `${digits.slice(0, -places)}.${digits.slice(-places)}`;
}

const member = tensor('n_a m T_x', 'hidden states');
const signature = group('CodecBench', 'one tensor', { a: member, dtype: dtypeMember });
const fast = loadJsonCodec();

interface Case {
  readonly size: string;
  readonly kind: string;
  readonly dtype: Dtype;
}

/** The same work by each codec. */
interface CodecSubject extends Subject {
  readonly codec: 'fast' | 'plain' | 'v8';
  /** Sum of the numbers that were read, or count of the bytes that were written. */
  readonly checksum: number;
}

function measure(direction: 'read' | 'write', one: Case, seconds: number) {
  const dims = dimsOf(one.size);
  const next = fullNumbersFrom(1);
  const hard = HARD[one.kind];
  const values = nested(member, dims, () => (hard ? hard(next(), one.dtype) : KINDS[one.kind](next())));
  const subjects = direction === 'read' ? readers(values, one.dtype) : writers(values, one.dtype, one.size);
  const spreads = measureInTurns(subjects, seconds);
  const count = dims.n_a * dims.m * dims.T_x;
  const v8 = spreads[subjects.findIndex(({ codec }) => codec === 'v8')].median;
  return subjects.map(({ codec, checksum }, i) => ({
    bench: 'codec',
    direction,
    size: one.size,
    numbers: one.kind,
    dtype: one.dtype,
    count,
    codec,
    ...taken(spreads[i], 'ns', 1e6 / count),
    over_v8: rounded(spreads[i].median / v8),
    checksum,
  }));
}

/** Bytes to a tensor; V8: bytes to nested arrays. The numbers may be given as texts. */
function readers(values: Json, dtype: Dtype): CodecSubject[] {
  const bytes = Buffer.from(`{"a":${JSON.stringify(values).replaceAll('"', '')},"dtype":"${dtype}"}`);
  const tensorBy = (codec?: typeof fast) => (readJson(bytes, signature, codec).a as Tensor).data;
  const arrays = () => JSON.parse(bytes.toString()).a;
  return [
    { codec: 'fast', checksum: sumOf(tensorBy(fast)), run: timedOften(() => tensorBy(fast)) },
    { codec: 'plain', checksum: sumOf(tensorBy()), run: timedOften(() => tensorBy()) },
    { codec: 'v8', checksum: sumOf(flat(arrays())), run: timedOften(arrays) },
  ];
}

/** A tensor as the engine leaves it to bytes; V8: nested arrays to bytes. */
function writers(values: Json, dtype: Dtype, size: string): CodecSubject[] {
  const numbers = arrayOf[dtype].from(flat(values));
  const { n_a, m, T_x } = dimsOf(size);
  const shape = [n_a, m, T_x];
  const data = new arrayOf[dtype](numbers.length);
  reverseAxes(data, numbers, shape);
  const a: Tensor = { shape, strides: timeMajor(shape), data };
  let at = 0;
  const arrays = nested(member, dimsOf(size), () => numbers[at++]);

  const subject = (codec: CodecSubject['codec'], work: () => Uint8Array): CodecSubject => ({
    codec,
    checksum: work().length,
    run: timedOften(work),
  });
  return [
    subject('fast', () => writeJson(signature, { a, dtype }, fast)),
    subject('plain', () => writeJson(signature, { a, dtype })),
    subject('v8', () => Buffer.from(JSON.stringify({ a: arrays, dtype }))),
  ];
}
