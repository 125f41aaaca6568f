import { createHash } from 'node:crypto';
import type { Service } from '../../service/process.js';
import type { Target } from './siege.js';

const MIB = 2 ** 20;

/** Services that are attacked. Where there are no keys, callers are told apart by their addresses. */
export const SERVICES = {
  /** Too little memory for much. */
  tight: { keys: false, MEMORY_LIMIT: 256 * MIB, CACHE_LIMIT: 64 * MIB, WORKERS: 2 },
  /** Memory for large requests, and callers with keys. */
  roomy: { keys: true, MEMORY_LIMIT: 2048 * MIB, CACHE_LIMIT: 64 * MIB, WORKERS: 2 },
} as const;

export type Kind = keyof typeof SERVICES;

const KEYS = { polite: 'the polite caller has this key', hostile: 'the hostile caller has this one' };
/** Another one than that of everybody else. */
const HOSTILE_ADDRESS = '127.0.0.2';

export function environmentOf(kind: Kind): Record<string, string> {
  const { keys, ...settings } = SERVICES[kind];
  const hash = (key: string) => createHash('sha256').update(key).digest('hex');
  return {
    ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, `${value}`])),
    ...(keys && { API_KEYS: `polite:${hash(KEYS.polite)},hostile:${hash(KEYS.hostile)}` }),
  };
}

/** What the polite caller sends with its requests. */
export function politeHeaders(kind: Kind): Record<string, string> {
  return SERVICES[kind].keys ? { 'x-api-key': KEYS.polite } : {};
}

export function targetOf({ url }: Service, kind: Kind): Omit<Target, 'crew' | 'crews'> {
  return {
    port: Number(new URL(url).port),
    address: HOSTILE_ADDRESS,
    headers: SERVICES[kind].keys ? `x-api-key: ${KEYS.hostile}\r\n` : '',
  };
}
