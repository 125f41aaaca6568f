import type { Build, Factor, Kernels, Matrix, Rows } from './kernels.js';
import { type Argument, argumentsOf, type KernelName, kernelNames, type Operand } from './list.js';

/** Multiplications, with as many additions, between two checkpoints: some milliseconds of them. */
const MOST_PRODUCTS = 2 ** 26;

/**
 * The kernels of a build, with a checkpoint before each product, of which there is one in every time step, at least;
 * products that take longer are cut over the examples. Where the cuts are follows from the shapes alone.
 *
 * @param checkpoint throws where the work is to be given up
 * @param most       multiplications between two checkpoints
 */
export function interruptible(build: Build, checkpoint: () => void, most = MOST_PRODUCTS): Build {
  const withCheckpoints = (kernels: Kernels): Kernels => {
    const products = kernelNames
      .filter((name) => argumentsOf(name).some(isMatrix))
      .map((name) => [name, interruptibleProduct(kernels, name, checkpoint, most)]);
    return { ...kernels, ...Object.fromEntries(products) };
  };
  return { ...build, float64: withCheckpoints(build.float64), float32: withCheckpoints(build.float32) };
}

function interruptibleProduct(kernels: Kernels, name: KernelName, checkpoint: () => void, most: number) {
  const product = kernels[name] as (...operands: readonly Operand[]) => void;
  const described = argumentsOf(name);
  const ofMatrix = described.findIndex(isMatrix);
  const ofRows = described.findIndex(({ is }) => is === 'rows');
  const width = described[ofRows].n;

  return (...operands: readonly Operand[]): void => {
    const matrixOrFactor = operands[ofMatrix] as Matrix | Factor;
    const { rows: p, columns: q } = 'matrix' in matrixOrFactor ? matrixOrFactor.matrix : matrixOrFactor;
    const m = (operands[ofRows] as Rows).length / (width === 'p' ? p : q);
    const step = Math.max(1, Math.floor(most / (p * q)));
    if (m <= step) {
      checkpoint();
      product(...operands);
      return;
    }
    for (let from = 0; from < m; from += step) {
      checkpoint();
      const to = Math.min(from + step, m);
      const run = operands.map((operand, i) => {
        const { is, n } = described[i];
        return is === 'rows' ? examples(operand as Rows, n === 'p' ? p : q, from, to) : operand;
      });
      product(...run);
    }
  };
}

function isMatrix({ is }: Argument): boolean {
  return is === 'matrix' || is === 'factor';
}

/** Examples from … to − 1 of rows with n numbers each. */
function examples({ data, offset }: Rows, n: number, from: number, to: number): Rows {
  return { data, offset: offset + from * n, length: (to - from) * n };
}
