import { choice, type GroupMember, integer, names, optional, text, type Values } from '../tensor/signature.js';

/** Members that several operations take beside their tensors. */

export const dtype = choice(
  'Dtype',
  ['float64', 'float32'],
  'float64',
  'type of all numbers of the request: they are read to the nearest of it, computed and answered in it; absent: `float64`',
);

/** Caches of sequences: everything that the backward operation needs and the forward operation has computed or was given. */
export const caches = choice(
  'CachesMode',
  ['none', 'inline', 'stored'],
  'none',
  'what becomes of the caches, which the backward operation takes instead of the inputs. `inline`: the answer holds them as `caches`; `stored`: the service keeps them for a while, and the answer holds their `cache_id`; `none`, or absent: they are not kept',
);

export const cache_id = text(64, 'names the `caches` that a forward operation has stored, with all their tensors');

/** A backward operation finds the caches by their id. */
export const storedCaches = { name: 'cache_id', as: 'caches' } as const;

/** What an answer holds of its caches. */
export const keptCaches = <G extends GroupMember>(group: G) => ({
  caches: optional(group),
  cache_id: text(64, 'names the stored caches for the backward operation; there if they are `stored`'),
  cache_expires_at: text(30, 'when the stored caches go, at the latest; there if they are `stored`', 'date-time'),
});

const areStored = ({ caches }: Values) => caches === 'stored';

/** When that exists. Stored caches are part of the answer, too, but are written elsewhere. */
export const whenKept = { '/caches': ({ caches }: Values) => caches !== 'none' };

/** Where caches go that are to be stored. */
export const depositedCaches = {
  group: 'caches',
  isAsked: areStored,
  id: 'cache_id',
  expiresAt: 'cache_expires_at',
} as const;

export const bptt_steps = integer(
  1,
  'truncated backpropagation: the sequence is cut into segments of this many time steps, counted from the first, and no gradient crosses a cut; absent: nothing is cut',
);

export const returned = names(
  'members of the answer that are wanted, by name or path (`gradients/dWf`): no others are in it then, whatever its schema says; absent: all but the states after the last step',
);

/**
 * Is a member of the answer wanted? What a request asks for in another way is: its caches.
 *
 * @param pointer of the member, or of a tensor in it
 */
export function isReturned(request: Values, pointer: string): boolean {
  if (pointer.startsWith('/cache')) return true;
  const wanted = request.return as readonly string[] | undefined;
  if (!wanted) return !pointer.endsWith('_last');
  return wanted.some((name) => pointer === `/${name}` || pointer.startsWith(`/${name}/`));
}
