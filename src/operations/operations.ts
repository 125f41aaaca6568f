import { gruOperations } from './gru.js';
import { lstmOperations } from './lstm.js';
import type { Operation } from './operation.js';
import { rnnOperations } from './rnn.js';

/** Everything that can be asked for, in the order of the documentation. */
export const operations: readonly Operation[] = [...rnnOperations, ...lstmOperations, ...gruOperations];
