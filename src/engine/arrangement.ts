import type { Tensor, WholeNumbers } from '../tensor/tensor.js';
import { type Steps, type Track, track } from './layout.js';
import { pack, type Ragged, raggedOf, unpack, whole } from './ragged.js';

/**
 * How a walk through time sees the tensors of a batch: as they are, or, where the examples have different lengths, without
 * their padding in other memory.
 */
export interface Arrangement {
  readonly steps: Steps;
  /** A sequence that the walk reads. @param room for its rows where they are packed */
  read(sequence: Tensor, room: Tensor | undefined): Track;
  /** Memory for a sequence that the walk writes. */
  target(sequence: Tensor, room: Tensor | undefined): Track;
  /** Completes a sequence that the walk has written. Its padding stays as it is. */
  write(sequence: Tensor, room: Tensor | undefined): void;
  /** The same for states, (n_a, m), which are one time step. */
  readStates(states: Tensor, room: Tensor | undefined): Tensor;
  targetOfStates(states: Tensor, room: Tensor | undefined): Tensor;
  writeStates(states: Tensor, room: Tensor | undefined): void;
  /** Whole numbers, (m, T), in the order of the walk. */
  whole(numbers: Tensor<WholeNumbers>): Int32Array;
}

/**
 * @param lengths of the examples; absent: all are T
 * @param T       steps behind which every example is over
 */
export function arrangementOf(m: number, T: number, lengths: Tensor<WholeNumbers> | undefined): Arrangement {
  const ragged = lengths && raggedOf(lengths.data, T);
  return ragged ? packed(ragged) : asTheyAre({ T, m });
}

function asTheyAre(steps: Steps): Arrangement {
  const itself = <T>(tensor: T) => tensor;
  return {
    steps,
    read: track,
    target: track,
    write() {},
    readStates: itself,
    targetOfStates: itself,
    writeStates() {},
    whole: (numbers) => whole(numbers, steps.T),
  };
}

function packed(ragged: Ragged): Arrangement {
  const { steps, order } = ragged;
  const ofStates: Ragged = { steps: { T: 1, m: steps.m, starts: Int32Array.of(0, steps.m) }, order };
  const there = (room: Tensor | undefined): Tensor => {
    if (!room) throw new Error('there is no room to pack a tensor in');
    return room;
  };
  return {
    steps,
    read(sequence, room) {
      const rows = track(there(room));
      pack(rows, sequence, ragged);
      return rows;
    },
    target: (_, room) => track(there(room)),
    write: (sequence, room) => unpack(track(sequence), there(room), ragged),
    readStates(states, room) {
      pack(track(there(room)), states, ofStates);
      return there(room);
    },
    targetOfStates: (_, room) => there(room),
    writeStates: (states, room) => unpack(track(states), there(room), ofStates),
    whole: (numbers) => whole(numbers, steps.T, ragged),
  };
}
