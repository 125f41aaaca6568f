import type { Factor, Kernels, Loops, Matrix, Rows } from './kernels.js';

/** The one list of the kernels. The builds, the trial at the start, checkpoints and tests follow from it. */

/** The sizes that a call has: m examples, and a matrix of p rows and q columns. */
export interface Sizes {
  readonly m: number;
  readonly p: number;
  readonly q: number;
}

/** What a kernel is called with: a row of n numbers, m of them, a matrix (p, q), the same as a factor, or the number n. */
export type Argument =
  | { readonly is: 'row' | 'rows' | 'number'; readonly n: 'p' | 'q' }
  | { readonly is: 'matrix' | 'factor'; readonly n?: undefined };

type Flat = Rows | Matrix | Factor | number;
export type Operand = Flat | Readonly<Record<string, Rows>>;

/** The arguments of a function, each described. */
type DescriptionOf<Operands extends readonly unknown[]> = {
  readonly [I in keyof Operands]: Operands[I] extends Flat ? Argument : { readonly [K in keyof Operands[I]]: Argument };
};

const row = (n: 'p' | 'q') => ({ is: 'row', n }) as const;
const rows = (n: 'p' | 'q') => ({ is: 'rows', n }) as const;
const number = (n: 'p' | 'q') => ({ is: 'number', n }) as const;
const [matrix, factor] = [{ is: 'matrix' }, { is: 'factor' }] as const;
const gates = { ft: rows('p'), it: rows('p'), cct: rows('p'), ot: rows('p') };
const gateGradients = { dzf: rows('p'), dzi: rows('p'), dzc: rows('p'), dzo: rows('p') };

/** Every kernel, with what it is called with. */
export const KERNELS: { readonly [Name in keyof Loops]: DescriptionOf<Parameters<Loops[Name]>> } = {
  fillRows: [rows('p'), row('p')],
  addProduct: [rows('p'), factor, rows('q')],
  addTransposedProduct: [rows('q'), factor, rows('p')],
  addOuterProducts: [matrix, rows('p'), rows('q')],
  addRows: [row('p'), rows('p')],
  add: [rows('p'), rows('p'), rows('p')],
  subtract: [rows('p'), rows('p'), rows('p')],
  hadamard: [rows('p'), rows('p'), rows('p')],
  addHadamard: [rows('p'), rows('p'), rows('p')],
  sigmoid: [rows('p')],
  sigmoidGradient: [rows('p'), rows('p'), rows('p')],
  tanh: [rows('p')],
  tanhGradient: [rows('p'), rows('p'), rows('p')],
  softmaxRows: [rows('p'), number('p')],
  lstmGates: [gates, rows('p'), rows('p'), rows('p')],
  lstmGateGradients: [gateGradients, rows('p'), rows('p'), rows('p'), gates, rows('p'), rows('p')],
  gruOutput: [{ zt: rows('p'), cct: rows('p') }, rows('p'), rows('p')],
  gruOutputGradients: [
    { dzz: rows('p'), dzc: rows('p') },
    rows('p'),
    rows('p'),
    { zt: rows('p'), cct: rows('p') },
    rows('p'),
  ],
};

export type KernelName = keyof Loops;
export const kernelNames = Object.keys(KERNELS) as KernelName[];

/** Calls a kernel by its name, with what the list says. */
export function call(loops: Loops, name: KernelName, operands: readonly Operand[]): void {
  (loops[name] as (...operands: readonly Operand[]) => void)(...operands);
}

/** The operands of a call of these sizes. Each array comes from `make`, in the order of the arguments. */
export function operandsOf(
  kernels: Kernels,
  name: KernelName,
  { m, p, q }: Sizes,
  make: (length: number) => Rows,
): Operand[] {
  const widths = { p, q };
  const operandOf = (argument: Argument): Flat => {
    if (argument.is === 'number') return widths[argument.n];
    if (argument.is === 'row') return make(widths[argument.n]);
    if (argument.is === 'rows') return make(m * widths[argument.n]);
    const { data, offset } = make(p * q);
    const W: Matrix = { data, offset, rows: p, columns: q, stride: q };
    return argument.is === 'factor' ? kernels.factor(W) : W;
  };
  const arrayOf = (argument: Argument) => operandOf(argument) as Rows;
  return describe(name).map((one) => {
    if (isArgument(one)) return operandOf(one);
    return Object.fromEntries(Object.entries(one).map(([key, argument]) => [key, arrayOf(argument)]));
  });
}

/** The arguments of a kernel, those in groups, too. */
export function argumentsOf(name: KernelName): Argument[] {
  return describe(name).flatMap((one) => (isArgument(one) ? [one] : Object.values(one)));
}

/** What a kernel is called with, in order. */
function describe(name: KernelName): readonly (Argument | Readonly<Record<string, Argument>>)[] {
  return KERNELS[name];
}

function isArgument(one: Argument | Readonly<Record<string, Argument>>): one is Argument {
  return typeof one.is === 'string';
}
