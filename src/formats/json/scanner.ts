import { Refusal } from '../../tensor/refusal.js';
import type { Dtype } from '../../tensor/tensor.js';
import { nearestFloat32 } from './float32.js';
import { CHECKPOINT_BYTES } from './limits.js';

/**
 * Reads JSON (RFC 8259) token by token from UTF-8 bytes, strictly and without recursion. Text that is not JSON is refused
 * with the offset of the byte (counted from 0) and the member that it is in.
 */
export interface Scanner {
  readonly bytes: Buffer;
  /** Offset of the next byte to read. */
  at: number;
  /** JSON pointer of the member being read, for syntax errors. */
  pointer: string;
  /** The path of the value being read in nested arrays: how many elements of each open array are finished. */
  readonly index: number[];
  /** Called every CHECKPOINT_BYTES. It throws if the text is no longer wanted. */
  readonly checkpoint: () => void;
  /** Offset of the next checkpoint. */
  due: number;
}

/** The deepest nesting that is read. No member of any operation needs more than five levels. */
export const MAX_DEPTH = 64;

const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;
export const OPEN_ARRAY = 0x5b;
export const WHITE_SPACE: readonly number[] = [0x20, 0x0a, 0x0d, 0x09];
export const CLOSE_ARRAY = 0x5d;
export const COMMA = 0x2c;
export const COLON = 0x3a;
const QUOTE = 0x22;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const BACKSLASH = 0x5c;

export function scan(bytes: Uint8Array, checkpoint: () => void = () => {}): Scanner {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const scanner = { bytes: buffer, at: 0, pointer: '', index: [], checkpoint, due: CHECKPOINT_BYTES };
  if (bytes.length === 0) throw syntaxError(scanner, 0, 'the body is empty, where JSON is expected');
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw syntaxError(scanner, 0, 'the body starts with a byte order mark, which JSON does not allow');
  }
  return scanner;
}

/** A refusal for the byte at `offset`. */
function syntaxError(scanner: Scanner, offset: number, what: string): Refusal {
  const pointer = scanner.pointer + path(scanner.index);
  const within = pointer === '' ? '' : `, in ${pointer}`;
  return new Refusal('invalid-json', [{ pointer, detail: `${what} (byte ${offset}${within})`, offset }]);
}

/** The JSON pointer of an element, from the arrays that it is nested in. */
export function path(index: readonly number[]): string {
  return index.map((i) => `/${i}`).join('');
}

function unexpected(scanner: Scanner, expected: string): Refusal {
  const { bytes, at } = scanner;
  if (at >= bytes.length) return syntaxError(scanner, at, `the text ends where ${expected} is expected`);
  const byte = bytes[at];
  const shown =
    byte > 0x20 && byte < 0x7f ? `"${String.fromCharCode(byte)}"` : `byte 0x${byte.toString(16).padStart(2, '0')}`;
  return syntaxError(scanner, at, `${shown} where ${expected} is expected`);
}

/** Non-finite numbers as many languages print them: NaN, -Infinity, inf, … */
const NOT_FINITE = /^[-+]?(nan|inf(inity)?)(?!\w)/i;

/** A refusal for a byte that begins no value, where a number or any other value is expected. */
function unexpectedValue(scanner: Scanner, expected: string): Refusal {
  const { bytes, at } = scanner;
  const start = bytes[at - 1] === MINUS ? at - 1 : at;
  const word = NOT_FINITE.exec(bytes.toString('latin1', start, start + 16))?.[0];
  if (word === undefined) return unexpected(scanner, expected);
  return syntaxError(scanner, start, `${word} is not JSON, whose numbers are finite`);
}

/** The next byte that is not white space, or −1 at the end; it is not consumed. */
export function peek(scanner: Scanner): number {
  const { bytes } = scanner;
  let at = scanner.at;
  while (at < bytes.length) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    at++;
    if (at >= scanner.due) pause(scanner, at);
  }
  scanner.at = at;
  return at < bytes.length ? bytes[at] : -1;
}

/** Consumes the next byte that is not white space, which must be `byte`. */
export function expect(scanner: Scanner, byte: number, expected: string): void {
  if (peek(scanner) !== byte) throw unexpected(scanner, expected);
  scanner.at++;
}

/** Consumes the comma or closing bracket behind a member or element. Returns whether it is a comma. */
export function hasNext(scanner: Scanner, close: number): boolean {
  pause(scanner);
  const byte = peek(scanner);
  if (byte !== COMMA && byte !== close) throw unexpected(scanner, close === CLOSE_ARRAY ? '"," or "]"' : '"," or "}"');
  scanner.at++;
  return byte === COMMA;
}

/** Calls the checkpoint where it is due. */
export function pause(scanner: Scanner, at = scanner.at): void {
  if (at < scanner.due) return;
  scanner.due = at + CHECKPOINT_BYTES;
  scanner.checkpoint();
}

/** Refuses text with anything but white space left. */
export function expectEnd(scanner: Scanner): void {
  if (peek(scanner) !== -1) throw unexpected(scanner, 'the end of the text');
}

export type ValueKind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null';

/** The kind of the next value, by its first byte; it is not consumed. */
export function peekKind(scanner: Scanner): ValueKind {
  const byte = peek(scanner);
  if (byte === OPEN_ARRAY) return 'array';
  if (startsNumber(byte)) return 'number';
  if (byte === OPEN_OBJECT) return 'object';
  if (byte === QUOTE) return 'string';
  if (byte === 0x74 || byte === 0x66) return 'boolean';
  if (byte === 0x6e) return 'null';
  throw unexpectedValue(scanner, 'a value');
}

export function startsNumber(byte: number): boolean {
  return byte === MINUS || (byte >= ZERO && byte <= NINE);
}

/** Consumes a number. It is correctly rounded to its dtype, or ±Infinity if it is too large; −0 is kept. */
export function readNumber(scanner: Scanner, dtype: Dtype = 'float64'): number {
  const start = scanner.at;
  skipNumber(scanner);
  const text = scanner.bytes.toString('latin1', start, scanner.at);
  return dtype === 'float32' ? nearestFloat32(text) : Number(text);
}

/** Consumes a number and returns whether it is small enough for its dtype. */
export function skipFinite(scanner: Scanner, dtype: Dtype): boolean {
  const start = scanner.at;
  const hasExponent = skipNumber(scanner);
  // The largest float32 has 39 digits.
  if (!hasExponent && scanner.at - start < 39) return true;
  scanner.at = start;
  return Number.isFinite(readNumber(scanner, dtype));
}

/** Consumes a number, checking only its syntax. Returns whether it has an exponent. */
function skipNumber(scanner: Scanner): boolean {
  const { bytes } = scanner;
  if (bytes[scanner.at] === MINUS) scanner.at++;
  if (bytes[scanner.at] === ZERO) scanner.at++;
  else skipDigits(scanner);
  if (bytes[scanner.at] === 0x2e) {
    scanner.at++;
    skipDigits(scanner);
  }
  if ((bytes[scanner.at] | 0x20) !== 0x65) return false;
  scanner.at++;
  if (bytes[scanner.at] === MINUS || bytes[scanner.at] === 0x2b) scanner.at++;
  skipDigits(scanner);
  return true;
}

function skipDigits(scanner: Scanner): void {
  const { bytes } = scanner;
  const start = scanner.at;
  let at = start;
  while (at < bytes.length && bytes[at] >= ZERO && bytes[at] <= NINE) {
    at++;
    if (at >= scanner.due) pause(scanner, at);
  }
  scanner.at = at;
  if (at === start) throw unexpectedValue(scanner, 'a digit');
}

/** No name or choice is longer. The beginning of a longer string is enough for the error text. */
const LONGEST_STRING = 1024;

/** Consumes a string, checks its UTF-8 and resolves its escapes. Of a string beyond LONGEST_STRING, returns only the beginning. */
export function readString(scanner: Scanner): string {
  peek(scanner);
  const start = scanner.at;
  const escaped = skipString(scanner);
  if (scanner.at - start > LONGEST_STRING) {
    return scanner.bytes.toString('utf8', start + 1, start + LONGEST_STRING);
  }
  return escaped
    ? JSON.parse(scanner.bytes.toString('utf8', start, scanner.at))
    : scanner.bytes.toString('utf8', start + 1, scanner.at - 1);
}

/** Consumes a string and returns whether it holds escapes. */
function skipString(scanner: Scanner): boolean {
  const { bytes } = scanner;
  let escaped = false;
  expect(scanner, QUOTE, 'a string');
  for (;;) {
    if (scanner.at >= bytes.length) throw unexpected(scanner, 'the end of a string');
    if (scanner.at >= scanner.due) pause(scanner);
    const byte = bytes[scanner.at];
    if (byte === QUOTE) {
      scanner.at++;
      return escaped;
    }
    if (byte < 0x20) throw unexpected(scanner, 'a character of a string');
    if (byte === BACKSLASH) {
      escaped = true;
      skipEscape(scanner);
    } else if (byte < 0x80) scanner.at++;
    else skipCodePoint(scanner);
  }
}

function skipEscape(scanner: Scanner): void {
  const { bytes } = scanner;
  scanner.at++;
  const letter = String.fromCharCode(bytes[scanner.at]);
  if (letter === 'u') {
    for (let digit = 0; digit < 4; digit++) {
      scanner.at++;
      if (!/^[0-9a-fA-F]$/.test(String.fromCharCode(bytes[scanner.at])))
        throw unexpected(scanner, 'a hexadecimal digit');
    }
  } else if (!'"\\/bfnrt'.includes(letter)) throw unexpected(scanner, 'an escape such as \\n');
  scanner.at++;
}

/** Consumes one code point of two to four bytes; overlong forms, surrogates and stray bytes are not UTF-8. */
function skipCodePoint(scanner: Scanner): void {
  const { bytes, at } = scanner;
  const [first, second] = [bytes[at], bytes[at + 1]];
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  let valid = first >= 0xc2 && first <= 0xf4 && at + length <= bytes.length;
  if (first === 0xe0) valid &&= second >= 0xa0;
  if (first === 0xed) valid &&= second < 0xa0;
  if (first === 0xf0) valid &&= second >= 0x90;
  if (first === 0xf4) valid &&= second < 0x90;
  for (let i = 1; valid && i < length; i++) valid = (bytes[at + i] & 0xc0) === 0x80;
  if (!valid) throw syntaxError(scanner, at, 'the string is not valid UTF-8');
  scanner.at += length;
}

/** Consumes any value, checking only its syntax. */
export function skipValue(scanner: Scanner): void {
  const { index } = scanner;
  const open: number[] = [];
  index.length = 0;
  // The path ends at the first object: its names are not kept.
  const isCounted = () => index.length === open.length;
  const leave = () => {
    if (isCounted()) index.pop();
    open.pop();
  };
  for (;;) {
    const kind = peekKind(scanner);
    if (kind === 'array' || kind === 'object') {
      const close = kind === 'array' ? CLOSE_ARRAY : CLOSE_OBJECT;
      enter(scanner, open.length);
      if (kind === 'array' && isCounted()) index.push(0);
      open.push(close);
      if (peek(scanner) !== close) {
        if (kind === 'object') skipName(scanner);
        continue;
      }
      scanner.at++;
      leave();
    } else if (kind === 'string') skipString(scanner);
    else if (kind === 'number') skipNumber(scanner);
    else skipLiteral(scanner);

    for (;;) {
      const close = open.at(-1);
      if (close === undefined) return;
      const isMore = hasNext(scanner, close);
      if (isCounted()) index[index.length - 1]++;
      if (isMore) {
        if (close === CLOSE_OBJECT) skipName(scanner);
        break;
      }
      leave();
    }
  }
}

/** Consumes the bracket that opens level `depth` (counted from 0). */
export function enter(scanner: Scanner, depth: number): void {
  if (depth >= MAX_DEPTH) {
    scanner.index.length = 0; // the path would be long and say nothing
    throw syntaxError(scanner, scanner.at, `the text nests deeper than ${MAX_DEPTH} levels`);
  }
  scanner.at++;
}

function skipName(scanner: Scanner): void {
  peek(scanner);
  skipString(scanner);
  expect(scanner, COLON, '":"');
}

function skipLiteral(scanner: Scanner): void {
  const { bytes, at } = scanner;
  const literal = ['true', 'false', 'null'].find((word) => bytes.toString('latin1', at, at + word.length) === word);
  if (!literal) throw unexpectedValue(scanner, 'a value');
  scanner.at += literal.length;
}
