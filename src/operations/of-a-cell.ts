import type { CellTypes } from '../engine/cell.js';
import type { CellEntry } from './cell-entry.js';
import { sequenceBackwardOf, sequenceForwardOf } from './of-a-sequence.js';
import { stepBackwardOf, stepForwardOf } from './of-a-step.js';
import type { Operation } from './operation.js';
import { forwardBackwardOf } from './with-a-loss.js';

/** The operations of a cell: one time step and a sequence, forward and backward, and a sequence with a loss. */
export function operationsOf<C extends CellTypes>(entry: CellEntry<C>): readonly Operation[] {
  const cell = { ...entry, id: entry.name.toLowerCase() };
  return [
    stepForwardOf(cell),
    stepBackwardOf(cell),
    sequenceForwardOf(cell),
    sequenceBackwardOf(cell),
    forwardBackwardOf(cell),
  ];
}
