import { randomUUID } from 'node:crypto';

/**
 * The name of stored caches: when they expire, and a random part that nobody can guess. Any instance can thus tell
 * that caches have expired without having kept anything of them.
 *
 *     00mibq2l5-0b8d1c1e-…     milliseconds since the epoch in base 36, and a UUID
 */
export function cacheId(expiresAt: number): string {
  return `${expiresAt.toString(36).padStart(EXPIRY_DIGITS, '0')}-${randomUUID()}`;
}

const EXPIRY_DIGITS = 9;
const FORM = /^([0-9a-z]{9})-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** When the caches of this id expire, in milliseconds since the epoch; undefined: no id looks like this. */
export function expiryOf(id: string): number | undefined {
  const [, expiry] = FORM.exec(id) ?? [];
  return expiry === undefined ? undefined : Number.parseInt(expiry, 36);
}
