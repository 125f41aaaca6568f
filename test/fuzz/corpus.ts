import { readdirSync, readFileSync } from 'node:fs';

/**
 * Inputs that were hard, or were read wrong once: a file each, with what must come of it. A body is given in pieces: text,
 * text so many times, or bytes in hexadecimal, which no text can hold.
 */
export interface Kept {
  readonly why: string;
  readonly body: readonly (string | { readonly text: string; readonly times: number } | { readonly hex: string })[];
  /** By the type that numbers are read to if the body does not say. */
  readonly float64: Expected;
  readonly float32: Expected;
}

/** The numbers of x, −0 as "-0"; or the refusal. */
export type Expected =
  | readonly (number | '-0')[]
  | { readonly code: string; readonly pointer?: string; readonly offset?: number };

const FOLDER = new URL('corpus/', import.meta.url);

export const corpus: readonly (readonly [string, Kept])[] = readdirSync(FOLDER)
  .toSorted()
  .map((name) => [name, JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8'))]);

export function bytesOf({ body }: Kept): Buffer {
  return Buffer.concat(
    body.map((piece) => {
      if (typeof piece === 'string') return Buffer.from(piece);
      return 'hex' in piece ? Buffer.from(piece.hex, 'hex') : Buffer.from(piece.text.repeat(piece.times));
    }),
  );
}
