import type { Build } from '../kernels/kernels.js';
import type { KnownGroups } from '../tensor/json-reader.js';
import { type GroupMember, hasBatchAxis, isFactor, type TensorMember, type Values } from '../tensor/signature.js';
import { type Dtype, dtypeOf, type Tensor } from '../tensor/tensor.js';

/** The weights of a request, as they were read from this text. */
interface Entry {
  readonly key: string;
  readonly text: Buffer;
  readonly values: Values;
  readonly bytes: number;
}

/** Where a text begins tells most weights apart; the whole text decides. */
const KEY_BYTES = 128;
/** Weights that begin alike, such as with zeros: as many are compared. */
const MOST_ALIKE = 8;
/** What an entry takes beside its text, and each of its tensors beside its numbers: of small weights nearly all. */
const ENTRY_BYTES = 1024;
const TENSOR_BYTES = 1024;

/**
 * The weights that callers send again and again, already read. They are known by every byte of their text, so there is
 * no hash that could be wrong; what is used least recently goes first.
 */
export class Parameters implements KnownGroups {
  readonly #limit: number;
  readonly #kernels: Build;
  readonly #entries = new Set<Entry>(); // the one used last comes last
  readonly #alike = new Map<string, Entry[]>(); // here, too
  #bytes = 0;
  #lookups = 0;
  #hits = 0;

  /**
   * @param limit bytes that all of it may take
   * @param kernels keep a copy of each matrix as they multiply with it, and one of its transpose
   */
  constructor(limit: number, kernels: Build) {
    this.#limit = limit;
    this.#kernels = kernels;
  }

  /** Of all groups of weights that were looked for, the share that was found. */
  get hitRate(): number {
    return this.#lookups === 0 ? 0 : this.#hits / this.#lookups;
  }

  find(group: GroupMember, dtype: Dtype, body: Buffer, at: number): { values: Values; end: number } | undefined {
    if (!holdsWeights(group)) return undefined;
    this.#lookups++;
    const alike = this.#alike.get(keyOf(group, dtype, body, at)) ?? [];
    for (const [i, entry] of alike.entries()) {
      const { text, values } = entry;
      const end = at + text.length;
      if (end > body.length || body.compare(text, 0, text.length, at, end) !== 0) continue;
      this.#hits++;
      this.#entries.delete(entry);
      this.#entries.add(entry);
      alike.push(...alike.splice(i, 1));
      return { values, end };
    }
    return undefined;
  }

  keep(group: GroupMember, dtype: Dtype, body: Buffer, at: number, end: number, values: Values): Values {
    if (!holdsWeights(group)) return values;
    const bytes = ENTRY_BYTES + end - at + this.#bytesOf(group, values);
    if (end - at < KEY_BYTES || bytes > this.#limit) return values;

    const copies = Object.fromEntries(Object.entries(values).map(([name, tensor]) => [name, copyOf(tensor as Tensor)]));
    const key = keyOf(group, dtype, body, at);
    const alike = this.#alike.get(key) ?? [];
    this.#alike.set(key, alike);
    const text = Buffer.allocUnsafeSlow(end - at);
    body.copy(text, 0, at, end);
    const entry = { key, text, values: copies, bytes };
    alike.push(entry);
    this.#entries.add(entry);
    this.#bytes += bytes;
    if (alike.length > MOST_ALIKE) this.#forget(alike[0]);
    for (const oldest of this.#entries) {
      if (this.#bytes <= this.#limit) break;
      this.#forget(oldest);
    }
    return copies;
  }

  #bytesOf({ members }: GroupMember, values: Values): number {
    return Object.entries(values).reduce((sum, [name, value]) => {
      const { data, shape } = value as Tensor;
      const [rows, columns] = shape;
      const { elementsForFactor } = this.#kernels[dtypeOf(data)];
      const panels = isFactor(members[name] as TensorMember) ? elementsForFactor(rows, columns) : 0;
      return sum + TENSOR_BYTES + data.byteLength + panels * data.BYTES_PER_ELEMENT;
    }, 0);
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry);
    this.#bytes -= entry.bytes;
    const others = (this.#alike.get(entry.key) ?? []).filter((one) => one !== entry);
    if (others.length > 0) this.#alike.set(entry.key, others);
    else this.#alike.delete(entry.key);
  }
}

/** Is it a group of tensors that do not depend on the examples? */
function holdsWeights({ members }: GroupMember): boolean {
  return Object.values(members).every((member) => member.kind === 'tensor' && !hasBatchAxis(member));
}

function keyOf({ name }: GroupMember, dtype: Dtype, body: Buffer, at: number): string {
  return `${name} ${dtype} ${body.toString('latin1', at, at + KEY_BYTES)}`;
}

function copyOf(tensor: Tensor): Tensor {
  return { ...tensor, data: tensor.data.slice() };
}
