import type { KnownGroups } from '../../formats/format.js';
import type { Build } from '../../kernels/kernels.js';
import { type GroupMember, hasBatchAxis, type TensorMember, type Values } from '../../tensor/signature.js';
import { type Dtype, dtypeOf, type Tensor } from '../../tensor/tensor.js';
import { amount } from '../amount.js';

/** Weights, and the text that they were read from. */
interface Entry {
  readonly key: string;
  readonly text: Buffer;
  readonly values: Values;
  readonly bytes: number;
}

/** The beginning of the text tells most weights apart. Then the whole text is compared. */
const KEY_BYTES = 128;
/** The most entries whose texts begin alike, for example with zeros. */
const MOST_ALIKE = 8;
/** Bytes of an entry beside its text, and of a tensor beside its numbers. For small weights that is nearly everything. */
const ENTRY_BYTES = 1024;
const TENSOR_BYTES = 1024;

/** The known weights as one request sees them. */
export interface Look extends KnownGroups {
  /** Called when the request is served, with its dtype. Nothing is counted or kept before that. */
  accept(dtype: Dtype): void;
}

/** Weights that were read, and are kept if their request is served. */
interface Offer {
  readonly group: GroupMember;
  readonly text: Buffer;
  readonly values: Values;
}

/**
 * Keeps the weights that callers send again and again, so that they need not be read again. Every byte of the text is
 * compared, so no hash can be wrong. The least recently used weights go first. A refused request changes nothing here.
 */
export class KnownWeights {
  readonly #limit: number;
  readonly #kernels: Build;
  readonly #entries = new Set<Entry>(); // the most recently used one comes last
  readonly #alike = new Map<string, Entry[]>(); // in each list the most recently used one comes last
  #bytes = 0;
  #lookups = 0;
  #hits = 0;

  /**
   * @param limit bytes that all entries together may take
   * @param kernels of the worker, which keep two more copies of each matrix: prepared for products with it and its transpose
   */
  constructor(limit: number, kernels: Build) {
    this.#limit = limit;
    this.#kernels = kernels;
  }

  /** The share of groups of weights that were known, among all groups in requests that were served. */
  get hitRate(): number {
    return this.#lookups === 0 ? 0 : this.#hits / this.#lookups;
  }

  /**
   * Begins with a request. When it is accepted, the weights it offers are copied and kept, and the copies replace the
   * tensors in its values.
   */
  look(): Look {
    // A body can be read twice, first with one dtype and then with the other.
    const found: Record<Dtype, Entry[]> = { float64: [], float32: [] };
    const offers: Record<Dtype, Offer[]> = { float64: [], float32: [] };
    return {
      find: (group, dtype, body, at) => {
        const entry = holdsWeights(group) ? this.#find(group, dtype, body, at) : undefined;
        if (!entry) return undefined;
        found[dtype].push(entry);
        return { values: entry.values, end: at + entry.text.length };
      },
      offer: (group, dtype, text, values) => {
        if (holdsWeights(group)) offers[dtype].push({ group, text, values });
      },
      accept: (dtype) => {
        this.#lookups += found[dtype].length + offers[dtype].length;
        this.#hits += found[dtype].length;
        for (const entry of found[dtype]) this.#touch(entry);
        for (const offer of offers[dtype]) this.#keep(offer, dtype);
      },
    };
  }

  #find(group: GroupMember, dtype: Dtype, body: Buffer, at: number): Entry | undefined {
    return this.#alike.get(keyOf(group, dtype, body, at))?.find(({ text }) => {
      const end = at + text.length;
      return end <= body.length && body.compare(text, 0, text.length, at, end) === 0;
    });
  }

  #touch(entry: Entry): void {
    this.#entries.delete(entry);
    this.#entries.add(entry);
    const alike = this.#alike.get(entry.key) ?? [];
    alike.push(...alike.splice(alike.indexOf(entry), 1));
  }

  #keep({ group, text, values }: Offer, dtype: Dtype): void {
    const bytes = amount('the size of weights', ENTRY_BYTES + text.length + this.#bytesOf(group, values));
    if (text.length < KEY_BYTES || bytes > this.#limit) return;

    for (const [name, tensor] of Object.entries(values)) {
      Object.assign(values, { [name]: { ...(tensor as Tensor), data: (tensor as Tensor).data.slice() } });
    }
    const key = keyOf(group, dtype, text);
    const alike = this.#alike.get(key) ?? [];
    this.#alike.set(key, alike);
    const ownText = Buffer.allocUnsafeSlow(text.length);
    text.copy(ownText);
    const entry = { key, text: ownText, values, bytes };
    alike.push(entry);
    this.#entries.add(entry);
    this.#bytes += bytes;
    if (alike.length > MOST_ALIKE) this.#forget(alike[0]);
    for (const oldest of this.#entries) {
      if (this.#bytes <= this.#limit) break;
      this.#forget(oldest);
    }
  }

  #bytesOf({ members }: GroupMember, values: Values): number {
    return Object.entries(values).reduce((sum, [name, value]) => {
      const { data, shape } = value as Tensor;
      const [rows, columns] = shape;
      const { elementsForFactor } = this.#kernels[dtypeOf(data)];
      const panels = (members[name] as TensorMember).isFactor ? elementsForFactor(rows, columns) : 0;
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

/** Does this group hold only tensors without a batch axis? */
function holdsWeights({ members }: GroupMember): boolean {
  return Object.values(members).every((member) => member.kind === 'tensor' && !hasBatchAxis(member));
}

function keyOf({ name }: GroupMember, dtype: Dtype, text: Buffer, at = 0): string {
  return `${name} ${dtype} ${text.toString('latin1', at, at + KEY_BYTES)}`;
}
