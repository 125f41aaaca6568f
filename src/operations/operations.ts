import {
  lstmBackwardOperation,
  lstmCellBackwardOperation,
  lstmCellForwardOperation,
  lstmForwardOperation,
} from './lstm.js';
import type { Operation } from './operation.js';
import { rnnBackwardOperation, rnnCellBackwardOperation, rnnCellForwardOperation, rnnForwardOperation } from './rnn.js';

/** Everything that can be asked for, in the order of the documentation. */
export const operations: readonly Operation[] = [
  rnnCellForwardOperation,
  rnnCellBackwardOperation,
  rnnForwardOperation,
  rnnBackwardOperation,
  lstmCellForwardOperation,
  lstmCellBackwardOperation,
  lstmForwardOperation,
  lstmBackwardOperation,
];
