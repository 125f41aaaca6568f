/**
 * The float32 nearest to a decimal number, ties to even; ±Infinity from the middle between the largest float32 and 2^128
 * on. Rounding to a double first, and then to a float32, gives the same result unless the double is exactly in the middle
 * between two float32. In that case the digits decide.
 *
 * @param text a number as JSON writes it, with any number of digits
 */
export function nearestFloat32(text: string): number {
  const double = Number(text);
  const nearest = Math.fround(double);
  const size = Math.abs(double);
  if (Math.abs(nearest) === size) return nearest;

  const [below, above] = neighbours(size);
  const middle = (below + above) / 2;
  if (size !== middle) return nearest;
  const side = compare(text, middle);
  if (side === 0) return nearest;
  const result = side < 0 ? below : Math.fround(above);
  return double < 0 ? -result : result;
}

const one = new Float32Array(1);
const bitsOfOne = new Uint32Array(one.buffer);

/** The float32 below and above a positive number that is not a float32 itself. Above the largest float32 comes 2^128. */
function neighbours(size: number): [number, number] {
  one[0] = size;
  if (one[0] > size) bitsOfOne[0]--;
  const below = one[0];
  bitsOfOne[0]++;
  return [below, one[0] === Infinity ? 2 ** 128 : one[0]];
}

/** More digits than the middle between two float32 can have: 2^−150 has 105, and its multiples below 2^25 a few more. */
const ENOUGH_DIGITS = 120;
/** Every middle is a whole multiple of 2^−150. */
const UNIT = 150n;

/** The sign of |text| − middle, exactly. */
function compare(text: string, middle: number): number {
  const [, whole, fraction = '', exponent = '0'] = /^-?(\d+)(?:\.(\d+))?(?:[eE](.+))?$/.exec(text) ?? [];
  const all = (whole + fraction).replace(/^0+/, '');
  // Of the digits that are cut off, it matters only whether one is not 0.
  const cut = all.slice(ENOUGH_DIGITS);
  const digits = BigInt(all.slice(0, ENOUGH_DIGITS) + (/[1-9]/.test(cut) ? '1' : '0'));
  const power = Number(exponent) - fraction.length + cut.length - 1;

  const left = (digits * tenTo(power)) << UNIT;
  const right = BigInt(middle * 2 ** Number(UNIT)) * tenTo(-power);
  return left < right ? -1 : left > right ? 1 : 0;
}

/** 10^power if the power is positive, else 1: a negative power multiplies the other side of the comparison. */
function tenTo(power: number): bigint {
  return power > 0 ? 10n ** BigInt(power) : 1n;
}

/** No float32 needs more digits. */
const MOST_DIGITS = 9;
/** Every float32 is a whole multiple of 2^−149. */
const LEAST = 149n;

/**
 * The double whose text in JavaScript has the fewest digits that read back to this float32. If several have, it is the
 * nearest one, ties to even.
 *
 * @param value a finite float32
 */
export function shortestFloat32(value: number): number {
  if (value === 0) return value;
  const size = Math.abs(value);
  const units = BigInt(size * 2 ** Number(LEAST));
  const first = Number(size.toExponential(20).split('e')[1]); // the power of ten of the first digit
  let shortest = '';
  for (let count = MOST_DIGITS; count > 0; count--) {
    const power = first - count + 1;
    // size = numerator / denominator · 10^power
    const numerator = units * tenTo(-power);
    const denominator = tenTo(power) << LEAST;
    const below = numerator / denominator;
    const twice = 2n * (numerator - below * denominator);
    const isAboveNearer = twice > denominator || (twice === denominator && below % 2n === 1n);
    const nearestFirst = isAboveNearer ? [below + 1n, below] : [below, below + 1n];
    const digits = nearestFirst.find((one) => nearestFloat32(`${one}e${power}`) === size);
    if (digits === undefined) break;
    shortest = `${digits}e${power}`;
  }
  return Math.sign(value) * Number(shortest);
}
