import { Faults } from '../../tensor/refusal.js';
import {
  type AnyTensor,
  formOf,
  type GroupMember,
  type OptionMember,
  pointerTo,
  symbolicShape,
  type TensorMember,
  type Values,
} from '../../tensor/signature.js';
import {
  arrayOf,
  type Dtype,
  elements,
  indexAt,
  rowMajor,
  type Tensor,
  type WholeNumbers,
} from '../../tensor/tensor.js';
import { listed } from '../../tensor/words.js';
import type { KnownGroups } from '../format.js';
import type { JsonCodec } from './codec.js';
import {
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  enter,
  expect,
  expectEnd,
  hasNext,
  OPEN_ARRAY,
  path,
  pause,
  peek,
  peekKind,
  readNumber,
  readString,
  type Scanner,
  scan,
  skipFinite,
  skipValue,
  startsNumber,
  type ValueKind,
  WHITE_SPACE,
} from './scanner.js';

/** The state of reading one body. Its faults are kept by kind: wrong members outrank wrong tensors. */
interface Found {
  readonly request: Faults;
  readonly tensor: Faults;
  /** The dtype that real numbers are read as. */
  readonly dtype: Dtype;
  /** Reads tensors fast. Without it, the plain reader does all the work. */
  readonly codec: JsonCodec | undefined;
  readonly known: KnownGroups | undefined;
}

/**
 * Reads a request from JSON. It must have exactly the members of the signature, and its tensors must be rectangular arrays of
 * finite numbers. An optional member that is null counts as absent. The returned tensors are row-major, with numbers of the
 * type that the member `dtype` says, if there is one. Their shapes are not compared with the symbols yet.
 *
 * @param codec reads tensors fast; the plain reader below reads everything else
 * @param known groups that need not be read again
 * @throws Refusal invalid-json at the first byte that is not JSON, else invalid-request with every member that is
 *   unknown, missing, given twice or of the wrong type, else invalid-tensor with every tensor that is malformed
 */
export function readJson(bytes: Uint8Array, signature: GroupMember, codec?: JsonCodec, known?: KnownGroups): Values {
  const scanner = scan(bytes, codec?.checkpoint);
  const guess = guessDtype(scanner.bytes, signature);
  const read = readAs(guess, scanner, signature, codec, known);
  const { dtype = guess } = read.values;
  // The member `dtype` may come after the tensors. If the guess was wrong, the body is read again.
  const { values, found } = dtype === guess ? read : readAs(dtype as Dtype, scanner, signature, codec, known);
  found.request.refuse('invalid-request');
  found.tensor.refuse('invalid-tensor');
  return values;
}

/** The dtype that the body probably asks for, because its name occurs somewhere in the body. */
function guessDtype(bytes: Buffer, { members: { dtype } }: GroupMember): Dtype {
  if (dtype?.kind !== 'choice') return 'float64';
  const others = dtype.choices.filter((choice) => choice !== dtype.otherwise);
  return (others.find((choice) => bytes.includes(`"${choice}"`)) ?? dtype.otherwise) as Dtype;
}

/** Reads the whole body, with all real numbers as this dtype. */
function readAs(
  dtype: Dtype,
  scanner: Scanner,
  signature: GroupMember,
  codec: JsonCodec | undefined,
  known: KnownGroups | undefined,
) {
  scanner.at = 0;
  scanner.due = 0;
  codec?.open(scanner.bytes, dtype);
  const found: Found = { request: new Faults(), tensor: new Faults(), dtype, codec, known };
  const values = readGroup(scanner, signature, '', found) ?? {};
  scanner.pointer = '';
  expectEnd(scanner);
  return { values, found };
}

const PHRASES: Record<ValueKind, string> = {
  object: 'an object',
  array: 'an array',
  string: 'a string',
  number: 'a number',
  boolean: 'a boolean',
  null: 'null',
};

function readGroup(scanner: Scanner, signature: GroupMember, pointer: string, found: Found): Values | undefined {
  const kind = peekKind(scanner);
  if (kind !== 'object') {
    const names = Object.keys(signature.members).join(', ');
    found.request.add(pointer, `${pointer || 'the body'} is ${PHRASES[kind]}, but must be an object of ${names}`);
    skipValue(scanner);
    return undefined;
  }
  const values: Record<string, Values[string]> = {};
  const seen = new Set<string>();
  const given = new Set<string>();
  scanner.at++;
  if (peek(scanner) === CLOSE_OBJECT) scanner.at++;
  else {
    do {
      const name = readString(scanner);
      const at = pointerTo(pointer, shorten(name));
      scanner.pointer = at;
      expect(scanner, COLON, '":"');
      const member = Object.hasOwn(signature.members, name) ? signature.members[name] : undefined;
      if (member === undefined || seen.has(name)) {
        const names = Object.keys(signature.members).join(', ');
        found.request.add(at, member ? `${at} is given twice` : `${at} is unknown; the members here are ${names}`);
        skipValue(scanner);
      } else {
        seen.add(name);
        // Clients in many languages write null for a member that is not set.
        if (member.optional && peekKind(scanner) === 'null') skipValue(scanner);
        else {
          given.add(name);
          if (member.kind === 'tensor') values[name] = readTensor(scanner, member, at, found);
          else if (member.kind === 'group') values[name] = readKnownGroup(scanner, member, at, found);
          else values[name] = readOption(scanner, member, at, found);
        }
      }
      scanner.pointer = pointer;
    } while (hasNext(scanner, CLOSE_OBJECT));
  }
  replaceStandIns(signature, given, pointer, found.request);
  checkPresence(signature, given, pointer, found.request);
  for (const [name, member] of Object.entries(signature.members)) {
    if (member.kind === 'choice') values[name] ??= member.otherwise;
  }
  return values;
}

/** Reads a group inside another one, unless its text is known. */
function readKnownGroup(scanner: Scanner, signature: GroupMember, pointer: string, found: Found): Values | undefined {
  const { known, dtype, request, tensor } = found;
  peek(scanner);
  const start = scanner.at;
  const before = known?.find(signature, dtype, scanner.bytes, start);
  if (before) {
    scanner.at = before.end;
    return before.values;
  }
  const values = readGroup(scanner, signature, pointer, found);
  if (values && request.isEmpty && tensor.isEmpty) {
    known?.offer(signature, dtype, scanner.bytes.subarray(start, scanner.at), values);
  }
  return values;
}

/** Shortens a name or value for an error text, since a sender can write a megabyte of it. */
function shorten(name: string): string {
  return name.length > 64 ? `${name.slice(0, 64)}…` : name;
}

/** Where a member stands for another one, the other one counts as given. */
function replaceStandIns({ standIns }: GroupMember, given: Set<string>, pointer: string, faults: Faults): void {
  for (const [name, standIn] of Object.entries(standIns)) {
    if (!given.has(standIn)) continue;
    if (given.has(name)) {
      const at = pointerTo(pointer, standIn);
      faults.add(at, `${at} cannot be given together with ${pointerTo(pointer, name)}: one of them is enough`);
    }
    given.add(name);
  }
}

function checkPresence(signature: GroupMember, given: ReadonlySet<string>, pointer: string, faults: Faults): void {
  const missing = (name: string, why: string) => {
    const member = signature.members[name];
    const shape = member.kind === 'tensor' ? `, ${symbolicShape(member)}` : '';
    const at = pointerTo(pointer, name);
    const standIn = signature.standIns[name];
    const other = standIn === undefined ? '' : `; ${standIn} may stand for it`;
    faults.add(at, `${at} is missing (${member.description}${shape})${why}${other}`);
  };

  for (const [name, member] of Object.entries(signature.members)) {
    if (!member.optional && !given.has(name)) missing(name, '');
  }
  const inWays = signature.either.flatMap(({ need, may = [] }) => [...need, ...may]);
  for (const name of Object.keys(signature.standIns)) {
    const isChecked = inWays.includes(name) || !signature.members[name].optional;
    if (!isChecked && !given.has(name)) missing(name, '');
  }

  for (const names of signature.together) {
    if (!names.some((name) => given.has(name))) continue;
    for (const name of names) {
      if (!given.has(name)) missing(name, `: ${names.join(' and ')} are given together or left out together`);
    }
  }

  if (signature.either.length === 0) return;
  const started = signature.either.filter(({ need, may = [] }) => [...need, ...may].some((name) => given.has(name)));
  if (started.length === 0) {
    const ways = signature.either.map(({ need }) => listed(need)).join(', or ');
    faults.add(pointer, `the forward pass is missing: ${pointer || 'the body'} must have either ${ways}`);
  } else if (started.length > 1) {
    const [first, second] = started.map(
      ({ need, may = [] }) => [...need, ...may].find((name) => given.has(name)) ?? '',
    );
    const at = pointerTo(pointer, second);
    faults.add(at, `${at} cannot be given together with ${pointerTo(pointer, first)}: one of them is enough`);
  } else {
    const [{ need }] = started;
    for (const name of need) if (!given.has(name)) missing(name, `: ${need.join(', ')} belong together`);
  }
}

function readOption(
  scanner: Scanner,
  member: OptionMember,
  pointer: string,
  found: Found,
): string | number | readonly string[] | undefined {
  const kind = peekKind(scanner);
  const expected = expectedOption(member);

  if (member.kind === 'choice' && kind === 'string') {
    const value = readString(scanner);
    if (member.choices.includes(value)) return value;
    found.request.add(pointer, `${pointer} is ${JSON.stringify(shorten(value))}, but must be ${expected}`);
  } else if ((member.kind === 'integer' || member.kind === 'number') && kind === 'number') {
    const value = readNumber(scanner);
    const isRight =
      member.kind === 'integer' ? Number.isInteger(value) && value >= member.minimum : value > member.above;
    if (isRight && Number.isFinite(value)) return value;
    found.request.add(pointer, `${pointer} is ${value}, but must be ${expected}`);
  } else if (member.kind === 'text' && kind === 'string') {
    const value = readString(scanner);
    if (value.length <= member.longest) return value;
    found.request.add(pointer, `${pointer} has ${value.length} characters, but must be ${expected}`);
  } else if (member.kind === 'names' && kind === 'array') {
    return readNames(scanner, pointer, found);
  } else {
    found.request.add(pointer, `${pointer} is ${PHRASES[kind]}, but must be ${expected}`);
    skipValue(scanner);
  }
  return undefined;
}

/** The most names that a request may list: more than any answer has members. */
const MOST_NAMES = 64;

function readNames(scanner: Scanner, pointer: string, found: Found): readonly string[] | undefined {
  const names: string[] = [];
  scanner.at++;
  if (peek(scanner) === CLOSE_ARRAY) {
    scanner.at++;
    found.request.add(pointer, `${pointer} is empty, but must have at least one name`);
    return undefined;
  }
  do {
    const at = `${pointer}/${names.length}`;
    const kind = peekKind(scanner);
    if (kind === 'string') names.push(readString(scanner));
    else {
      found.request.add(at, `${at} is ${PHRASES[kind]}, but must be a string`);
      skipValue(scanner);
    }
  } while (hasNext(scanner, CLOSE_ARRAY));
  if (names.length <= MOST_NAMES) return names;
  found.request.add(pointer, `${pointer} has ${names.length} names, but may have ${MOST_NAMES}`);
  return undefined;
}

function expectedOption(member: OptionMember): string {
  switch (member.kind) {
    case 'choice':
      return member.choices.map((name) => `"${name}"`).join(' or ');
    case 'integer':
      return `a whole number of at least ${member.minimum}`;
    case 'number':
      return `a number above ${member.above}`;
    case 'text':
      return `a string of at most ${member.longest} characters`;
    case 'names':
      return 'an array of strings';
  }
}

function readTensor(scanner: Scanner, described: TensorMember, pointer: string, found: Found): AnyTensor | undefined {
  const kind = peekKind(scanner);
  const member = described.or ? formOf(described, depthOf(scanner)) : described;
  const rank = member.axes.length;
  if (kind !== (rank === 0 ? 'number' : 'array')) {
    const numbers = member.numbers === 'whole' ? 'whole numbers' : 'numbers';
    const levels = rank === 1 ? 'an array' : `${rank} levels of nested arrays`;
    const other = described.or ? `, or whole numbers, ${symbolicShape(described.or)}` : '';
    const nested = `${levels} of ${numbers}, ${symbolicShape(member)}${other}`;
    found.request.add(pointer, `${pointer} is ${PHRASES[kind]}, but must be ${rank === 0 ? 'a number' : nested}`);
    skipValue(scanner);
    return undefined;
  }
  const start = scanner.at;
  const isFast = rank > 0 && member.numbers === 'real';
  const fast = isFast ? found.codec?.readTensor(start) : undefined;
  if (fast) {
    scanner.at = fast.end;
    return fast.tensor;
  }
  const checked = checkNestedArrays(scanner, member.numbers === 'real' ? found.dtype : 'float64');
  if (Array.isArray(checked)) {
    if (member.numbers === 'real') return readNumbers(scanner, start, checked, found);
    return readWholeNumbers(scanner, start, checked, pointer, found);
  }
  found.tensor.add(pointer + checked.at, checked.detail(pointer));
  // The rest of the tensor must still be JSON.
  scanner.at = start;
  skipValue(scanner);
  return undefined;
}

/** How many arrays begin here, one inside the other. */
function depthOf({ bytes, at }: Scanner): number {
  let depth = 0;
  for (let i = at; bytes[i] === OPEN_ARRAY || WHITE_SPACE.includes(bytes[i]); i++) if (bytes[i] === OPEN_ARRAY) depth++;
  return depth;
}

/** A fault in nested arrays: its path below the tensor, and the sentence that describes it. */
interface Flaw {
  readonly at: string;
  detail(pointer: string): string;
}

/**
 * Consumes nested arrays of numbers. Returns their shape, or the first flaw. Numbers are converted only if they may be too
 * large for the dtype, so that large bodies are refused quickly.
 *
 * All along, `index` of the scanner is the path of the value that comes next, or of the last value until the comma or bracket
 * behind it has been read.
 */
function checkNestedArrays(scanner: Scanner, dtype: Dtype): number[] | Flaw {
  const { index } = scanner;
  const shape: number[] = [];
  let rank = 0; // depth of the numbers, known from the first one on

  for (;;) {
    const kind = peekKind(scanner);
    if (kind === 'array') {
      if (index.length === rank && rank > 0) return mixed(index, 'an array', 'a number');
      enter(scanner, index.length);
      index.push(0);
      if (peek(scanner) !== CLOSE_ARRAY) continue;
      index.pop();
      return flaw(index, (at) => `${at} is empty; every dimension must be at least 1`);
    }
    if (kind !== 'number') return flaw(index, (at) => `${at} is ${PHRASES[kind]}, but must be a number`);
    if (rank === 0) rank = index.length;
    if (index.length !== rank) return mixed(index, 'a number', 'an array');
    const start = scanner.at;
    if (!skipFinite(scanner, dtype)) {
      const text = shorten(scanner.bytes.toString('latin1', start, Math.min(scanner.at, start + 80)));
      return flaw(index, (at) => `${at} is ${text}, which is too large for ${dtype}`);
    }

    if (rank === 0) return shape; // a single number
    for (;;) {
      const isMore = hasNext(scanner, CLOSE_ARRAY);
      index[index.length - 1]++;
      if (isMore) break;
      const count = index.pop() ?? 0;
      const depth = index.length;
      shape[depth] ??= count;
      if (shape[depth] !== count) {
        const first = index.map(() => '/0').join('');
        const length = shape[depth];
        return {
          at: path(index),
          detail: (pointer) =>
            `${pointer}${path(index)} has ${elementsText(count)}, but ${pointer}${first} has ${length}`,
        };
      }
      if (depth === 0) return shape;
    }
  }
}

/** Reads the numbers of nested arrays that have been checked, in the order of the text. */
function readNumbers(checked: Scanner, start: number, shape: number[], { dtype, codec }: Found): Tensor {
  // The codec has given up, but still has room for the tensor. New memory would hold a large tensor twice.
  const data = codec?.room(elements(shape)) ?? new arrayOf[dtype](elements(shape));
  const scanner = { ...checked, at: start, due: start };
  for (let i = 0; i < data.length; i++) {
    while (!startsNumber(scanner.bytes[scanner.at])) scanner.at++;
    data[i] = readNumber(scanner, dtype);
    pause(scanner);
  }
  return { shape, strides: rowMajor(shape), data };
}

/** Reads the whole numbers of nested arrays that have been checked to hold numbers; undefined if one of them is not whole. */
function readWholeNumbers(
  checked: Scanner,
  start: number,
  shape: number[],
  pointer: string,
  found: Found,
): Tensor<WholeNumbers> | undefined {
  const { data, strides } = readNumbers(checked, start, shape, { ...found, dtype: 'float64', codec: undefined });
  const wrong = data.findIndex((value) => value !== Math.trunc(value) || Math.abs(value) > MOST_WHOLE);
  if (wrong < 0) return { shape, strides, data: Int32Array.from(data) };
  const at = `${pointer}${path(indexAt({ shape, strides }, wrong))}`;
  found.tensor.add(at, `${at} is ${data[wrong]}, but must be a whole number of 32 bits`);
  return undefined;
}

const MOST_WHOLE = 2 ** 31 - 1;

function elementsText(count: number): string {
  return count === 1 ? '1 element' : `${count} elements`;
}

function flaw(index: readonly number[], detail: (at: string) => string): Flaw {
  const at = path(index);
  return { at, detail: (pointer) => detail(pointer + at) };
}

/** The flaw of an array and a number at the same depth. */
function mixed(index: readonly number[], found: string, before: string): Flaw {
  const at = path(index);
  const first = index.map(() => '/0').join('');
  return { at, detail: (pointer) => `${pointer}${at} is ${found}, but ${pointer}${first} is ${before}` };
}
