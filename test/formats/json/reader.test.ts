import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type JsonCodec, loadJsonCodec } from '../../../src/formats/json/codec.js';
import { readJson } from '../../../src/formats/json/reader.js';
import { MAX_DEPTH } from '../../../src/formats/json/scanner.js';
import { Refusal } from '../../../src/tensor/refusal.js';
import { choice, group, integer, optional } from '../../../src/tensor/signature.js';
import type { Tensor } from '../../../src/tensor/tensor.js';
import { cases } from '../../cases.js';
import { tensor } from '../../symbols.js';

const signature = group('Request', 'a request', {
  x: tensor('n_x m', 'input'),
  parameters: group(
    'Parameters',
    'weights',
    { W: tensor('n_a n_x', 'weights'), V: optional(tensor('n_y n_a', 'more')), b: optional(tensor('n_y 1', 'bias')) },
    { together: [['V', 'b']] },
  ),
  mode: choice('Choice', ['plain', 'fancy'], 'plain', 'how'),
  steps: integer(1, 'how many'),
});
const REST = '"parameters":{"W":[[1]]}';
const bytesOf = (text: string | number[]) =>
  typeof text === 'string' ? new TextEncoder().encode(text) : Uint8Array.from(text);

const fastCodec = loadJsonCodec();
const roads = [
  { road: 'plain', codec: undefined },
  { road: 'fast', codec: fastCodec },
];

/** Refused by both roads alike. */
function refused(text: string | number[]): Refusal {
  const [plain, fast] = roads.map(({ codec }) => refusedBy(text, codec));
  expect(fast).toEqual(plain);
  return plain;
}

function refusedBy(text: string | number[], codec: JsonCodec | undefined): Refusal {
  try {
    readJson(bytesOf(text), signature, codec);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
  throw new Error('was not refused');
}

describe.each(roads)('numbers, $road road', ({ codec }) => {
  const read = (text: string) => (readJson(bytesOf(`{"x":[[${text}]],${REST}}`), signature, codec).x as Tensor).data[0];

  it.each([
    ['-0', -0],
    ['-0.0e5', -0],
    ['5e-324', 5e-324],
    ['2.4703282292062327e-324', 0],
    ['2.4703282292062328e-324', 5e-324],
    ['1e-400', 0],
    ['-1E-400', -0],
    ['9007199254740993', 9007199254740992],
    ['1.7976931348623158e308', Number.MAX_VALUE],
    ['0.1e1', 1],
    ['0.000000000000000000000000000000000001', 1e-36],
    ['123456789012345678901234567890', 1.2345678901234568e29],
    ['9007199254740993.00000000000000000001', 9007199254740994],
    ['8.5e-320', 8.5e-320],
  ])('%s', (text, expected) => {
    expect(Object.is(read(text), expected)).toBe(true);
  });
});

describe('what is not JSON is refused at its byte', () => {
  it.each([
    ['an empty body', '', 0],
    ['white space only', ' \n ', 3],
    ['a byte order mark', [0xef, 0xbb, 0xbf, 0x7b, 0x7d], 0],
    ['trailing text', `{"x":[[1]],${REST}} x`, 37],
    ['a second value', `{"x":[[1]],${REST}}{}`, 36],
    ['an end too early', '{"x":[[1', 8],
    ['a missing colon', '{"x" [[1]]}', 5],
    ['a missing comma', '{"x":[[1]] "mode":1}', 11],
    ['a comma too many in an object', '{"x":[[1]],}', 11],
    ['a comma too many in an array', '{"x":[[1,]]}', 9],
    ['a leading zero', '{"x":[[01]]}', 8],
    ['a leading plus', '{"x":[[+1]]}', 7],
    ['a leading point', '{"x":[[.5]]}', 7],
    ['a trailing point', '{"x":[[1.]]}', 9],
    ['an empty exponent', '{"x":[[1e]]}', 9],
    ['a lone minus', '{"x":[[-]]}', 8],
    ['NaN', '{"x":[[NaN]]}', 7],
    ['Infinity', '{"x":[[Infinity]]}', 7],
    ['a hexadecimal number', '{"x":[[0x10]]}', 8],
    ['a misspelt literal', '{"x":[[nul]]}', 7],
    ['a single-quoted name', "{'x':1}", 1],
    ['an unquoted name', '{x:1}', 1],
    ['a comment', '{/**/"x":1}', 1],
    ['a wrong bracket', '{"x":[[1}]}', 8],
    ['an unknown escape', '{"\\x":1}', 3],
    ['half an escape', '{"\\u12g4":1}', 6],
    ['a control character in a string', '{"a\nb":1}', 3],
    ['a string without end', '{"abc', 5],
    ['bytes that are not UTF-8', [0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d], 2],
    ['an overlong form', [0x7b, 0x22, 0xc0, 0xaf, 0x22], 2],
    ['a surrogate in UTF-8', [0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22], 2],
    ['a code point beyond Unicode', [0x7b, 0x22, 0xf5, 0x80, 0x80, 0x80, 0x22], 2],
    ['a cut code point', [0x7b, 0x22, 0xe2, 0x82, 0x22, 0x3a, 0x31, 0x7d], 2],
    ['bytes that are not UTF-8 outside of strings', [0x7b, 0xff, 0x7d], 1],
    ['UTF-16', [0x7b, 0x00, 0x7d, 0x00], 1],
  ])('%s', (_, text, offset) => {
    const { code, faults } = refused(text);
    expect(code).toBe('invalid-json');
    expect(faults).toHaveLength(1);
    expect(faults[0].offset).toBe(offset);
    expect(faults[0].detail).toContain(`byte ${offset}`);
  });

  it('in a member that is unknown, and in a tensor that is wrong already', () => {
    expect(refused('{"unknown":{"a":[1,2,}}').code).toBe('invalid-json');
    expect(refused('{"x":[["wrong"],[1,]]}').code).toBe('invalid-json');
    expect(refused('{"x":"wrong"').faults[0].pointer).toBe('');
  });

  it.each([
    ['{"x":[[1,NaN]]}', '/x/0/1', 9, 'NaN is not JSON, whose numbers are finite (byte 9, in /x/0/1)'],
    ['{"x":[[1],[-Infinity]]}', '/x/1/0', 11, '-Infinity is not JSON'],
    ['{"x":[[0,0],[0, Infinity ]]}', '/x/1/1', 16, 'Infinity is not JSON'],
    ['{"x":[[[[[-nan]]]]]}', '/x/0/0/0/0/0', 10, '-nan is not JSON'],
    ['{"x":[[nan]]}', '/x/0/0', 7, 'nan is not JSON'],
    ['{"x":[[+inf]]}', '/x/0/0', 7, '+inf is not JSON'],
    ['{"x":[NaN,NaN]}', '/x/0', 6, 'NaN is not JSON'],
    ['{"x":NaN}', '/x', 5, 'NaN is not JSON'],
    ['{"parameters":{"W":[[1],[NaN]]}}', '/parameters/W/1/0', 25, 'NaN is not JSON'],
    ['{"parameters":{"V":nan}}', '/parameters/V', 19, 'nan is not JSON'],
    ['{"steps":NaN}', '/steps', 9, 'NaN is not JSON'],
    ['{"mode":Infinity}', '/mode', 8, 'Infinity is not JSON'],
    ['{"other":[1,[2,NaN]]}', '/other/1/1', 15, 'NaN is not JSON'],
    ['NaN', '', 0, 'NaN is not JSON'],
    // Behind something else that is wrong with the tensor, or in it.
    ['{"x":[[null,1],[2,NaN]]}', '/x/1/1', 18, 'NaN is not JSON'],
    ['{"x":[[1,2],[3],[[4]],[NaN]]}', '/x/3/0', 23, 'NaN is not JSON'],
    ['{"x":[[],[[],[1,-inf]]]}', '/x/1/1/1', 16, '-inf is not JSON'],
    ['{"x":[[1,{"a":[2,NaN]}]]}', '/x/0/1', 17, 'NaN is not JSON'],
    ['{"x":[[1,{"a":[2]},[3,NaN]]]}', '/x/0/2/1', 22, 'NaN is not JSON'],
    // What is no number that JSON has in other ways.
    ['{"x":[[1],[.5]]}', '/x/1/0', 11, '"." where a value is expected (byte 11, in /x/1/0)'],
    ['{"x":[[1],[0,+1]]}', '/x/1/1', 13, '"+" where a value is expected'],
    ['{"x":[[1],[01]]}', '/x/1/0', 12, '"1" where "," or "]" is expected'],
    ['{"x":[[1,2],[3,0x1]]}', '/x/1/1', 16, '"x" where "," or "]" is expected'],
    ['{"x":[[1,2_0]]}', '/x/0/1', 10, '"_" where "," or "]" is expected'],
    ['{"x":[[1],[2]3]}', '/x/1', 13, '"3" where "," or "]" is expected'],
    ['{"x":[[1,2,]]}', '/x/0/2', 11, '"]" where a value is expected'],
    ['{"x":[[1],[Nano]]}', '/x/1/0', 11, '"N" where a value is expected'],
    ['{"x":[[1],[1.#INF]]}', '/x/1/0', 13, '"#" where a digit is expected'],
    ['{"parameters":{"W":[[1],[', '/parameters/W/1/0', 25, 'the text ends where a value is expected'],
  ])('in nested arrays with its index: %s', (text, pointer, offset, detail) => {
    const { code, faults } = refused(text);
    expect(code).toBe('invalid-json');
    expect(faults).toEqual([{ pointer, offset, detail: expect.stringContaining(detail) }]);
  });

  it('at the end of a large tensor nearly as soon as the tensor is read', () => {
    const row = `[${'0.25,'.repeat(999)}0.25]`;
    const rows = `${row},`.repeat(1000);
    const timed = (last: string) => {
      const text = `{"x":[${rows}[${'0,'.repeat(999)}${last}]],${REST}}`;
      const start = process.cpuUsage();
      if (last === '0') readJson(bytesOf(text), signature);
      else expect(refusedBy(text, fastCodec).faults[0].pointer).toBe('/x/1000/999');
      return process.cpuUsage(start).user;
    };
    timed('0');
    expect(timed('NaN')).toBeLessThan(3 * timed('0'));
  });

  it.each(['[', '{"x":', '{"x":[', '{"unknown":[', '{"unknown":{"a":'])('nesting 100,000 deep: %s…', (open) => {
    const unit = open.at(-1) === '[' ? '[' : '{"a":';
    const { code, faults } = refused(open + unit.repeat(100_000));
    expect(code).toBe('invalid-json');
    expect(faults[0].detail).toContain(`nests deeper than ${MAX_DEPTH} levels`);
  });

  it('accepts exactly what JSON.parse accepts', () => {
    // Texts near JSON: valid ones with one character changed.
    const near = fc
      .tuple(
        fc.json({ maxDepth: 3 }),
        fc.nat(),
        fc.constantFrom('', '"', '{', '}', '[', ']', ',', ':', '0', '-', 'e', ' ', '\\'),
      )
      .map(
        ([text, at, letter]) =>
          text.slice(0, at % (text.length + 1)) + letter + text.slice((at % (text.length + 1)) + 1),
      );
    fc.assert(
      fc.property(fc.oneof(near, fc.json()), (text) => {
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        expect(refused(text).code === 'invalid-json').toBe(!valid);
      }),
      { numRuns: cases(3000) },
    );
  });
});

describe('members', () => {
  it.each([
    ['[1]', '', 'the body is an array, but must be an object of x, parameters, mode, steps'],
    ['"text"', '', 'the body is a string'],
    ['null', '', 'the body is null'],
    [`{"x":[[1]],${REST},"Waax":[[1]]}`, '/Waax', '/Waax is unknown; the members here are x, parameters, mode, steps'],
    [`{"x":[[1]],${REST},"__proto__":{"x":1}}`, '/__proto__', '/__proto__ is unknown'],
    [`{"x":[[1]],${REST},"constructor":1}`, '/constructor', '/constructor is unknown'],
    [`{"x":[[1]],${REST},"a/b~c":1}`, '/a~1b~0c', 'is unknown'],
    [`{"x":[[1]],${REST},"x":[[1]]}`, '/x', '/x is given twice'],
    [`{"x":[[1]],${REST},"\\u0078":[[1]]}`, '/x', '/x is given twice'],
    [`{${REST}}`, '/x', '/x is missing (input, (n_x, m))'],
    ['{"x":[[1]]}', '/parameters', '/parameters is missing (weights)'],
    ['{"x":[[1]],"parameters":{}}', '/parameters/W', '/parameters/W is missing'],
    [
      '{"x":[[1]],"parameters":{"W":[[1]],"V":[[1]]}}',
      '/parameters/b',
      'V and b are given together or left out together',
    ],
    ['{"x":[[1]],"parameters":[]}', '/parameters', '/parameters is an array, but must be an object of W, V, b'],
    [`{"x":null,${REST}}`, '/x', '/x is null, but must be 2 levels of nested arrays of numbers, (n_x, m)'],
    ['{"x":[[1]],"parameters":null}', '/parameters', '/parameters is null, but must be an object of W, V, b'],
    ['{"x":[[1]],"parameters":{"W":null}}', '/parameters/W', '/parameters/W is null, but must be 2 levels'],
    [`{"x":"1",${REST}}`, '/x', '/x is a string'],
    [`{"x":1,${REST}}`, '/x', '/x is a number'],
    [`{"x":true,${REST}}`, '/x', '/x is a boolean'],
    [`{"x":{},${REST}}`, '/x', '/x is an object'],
    [`{"x":[[1]],${REST},"mode":"odd"}`, '/mode', '/mode is "odd", but must be "plain" or "fancy"'],
    [`{"x":[[1]],${REST},"steps":0}`, '/steps', '/steps is 0, but must be a whole number of at least 1'],
    [`{"x":[[1]],${REST},"steps":1.5}`, '/steps', '/steps is 1.5'],
    [`{"x":[[1]],${REST},"steps":"2"}`, '/steps', '/steps is a string'],
    [`{"x":[[1]],${REST},"steps":1e999}`, '/steps', '/steps is Infinity'],
  ])('%s', (text, pointer, detail) => {
    const { code, faults } = refused(text);
    expect(code).toBe('invalid-request');
    expect(faults).toHaveLength(1);
    expect(faults[0].pointer).toBe(pointer);
    expect(faults[0].detail).toContain(detail);
  });

  it('lists everything that is wrong, but not a million things', () => {
    expect(refused('{"y":1,"parameters":{"Z":1}}').faults.map(({ pointer }) => pointer)).toEqual([
      '/y',
      '/parameters/Z',
      '/parameters/W',
      '/x',
    ]);
    const many = Array.from({ length: 5000 }, (_, i) => `"m${i}":1`).join();
    const { faults } = refused(`{${many}}`);
    expect(faults).toHaveLength(21);
    expect(faults[20].detail).toBe('and 4982 more');
  });

  it('that may be absent are absent if they are null', () => {
    const read = (text: string) => roads.map(({ codec }) => readJson(bytesOf(text), signature, codec));
    const nulls = '{"mode":null,"x":[[1]],"parameters":{"V": null ,"W":[[1]],"b":null},"steps":null}';
    for (const values of read(nulls)) {
      expect(values).toEqual(readJson(bytesOf(`{"x":[[1]],${REST}}`), signature));
    }
    const half = refused('{"x":[[1]],"parameters":{"W":[[1]],"V":[[1]],"b":null}}');
    expect(half.faults).toEqual([
      { pointer: '/parameters/b', detail: expect.stringContaining('V and b are given together or left out together') },
    ]);
    expect(refused(`{"steps":null,"x":[[1]],${REST},"steps":2}`).faults[0].detail).toBe('/steps is given twice');
  });

  it('shows only the beginning of a name that is very long', () => {
    const { faults } = refused(`{"${'n'.repeat(1_000_000)}":1}`);
    expect(faults[0].detail.length).toBeLessThan(200);
  });

  it('fills in the options that are absent, and takes any order and white space', () => {
    const values = readJson(bytesOf(` { "steps" : 3.0 , ${REST} ,\r\n\t"x" : [ [ 1 , 2 ] ] } `), signature);
    expect(values.mode).toBe('plain');
    expect(values.steps).toBe(3);
    expect((values.x as Tensor).shape).toEqual([1, 2]);
  });
});

describe('tensors', () => {
  it.each([
    ['[]', '/x', '/x is empty; every dimension must be at least 1'],
    ['[[1],[]]', '/x/1', '/x/1 is empty'],
    ['[[1,2],[3]]', '/x/1', '/x/1 has 1 element, but /x/0 has 2'],
    ['[[1],[2,3]]', '/x/1', '/x/1 has 2 elements, but /x/0 has 1'],
    ['[[[1],[2]],[[3]]]', '/x/1', '/x/1 has 1 element, but /x/0 has 2'],
    ['[[1,2],3]', '/x/1', '/x/1 is a number, but /x/0 is an array'],
    ['[1,[2]]', '/x/1', '/x/1 is an array, but /x/0 is a number'],
    ['[[1],[[2]]]', '/x/1/0', '/x/1/0 is an array, but /x/0/0 is a number'],
    ['[["1"]]', '/x/0/0', '/x/0/0 is a string, but must be a number'],
    ['[[1,null]]', '/x/0/1', '/x/0/1 is null, but must be a number'],
    ['[[1],[true]]', '/x/1/0', '/x/1/0 is a boolean, but must be a number'],
    ['[[{"a":1}]]', '/x/0/0', '/x/0/0 is an object, but must be a number'],
    ['[[1e999]]', '/x/0/0', '/x/0/0 is 1e999, which is too large for float64'],
    [`[[0.${'0'.repeat(100_004)}1e1000050]]`, '/x/0/0', 'which is too large for float64'],
    ['[[1,2],[3,-1e309]]', '/x/1/1', '/x/1/1 is -1e309, which is too large for float64'],
  ])('%s', (text, pointer, detail) => {
    const { code, faults } = refused(`{"x":${text},${REST}}`);
    expect(code).toBe('invalid-tensor');
    expect(faults).toEqual([{ pointer, detail: expect.stringContaining(detail) }]);
  });

  it('that the fast road gives up late take its memory, and no other', () => {
    const hard = new Array(2000).fill('1e-310').join();
    const text = bytesOf(`{"x":[[${'0,'.repeat(100_000)}${hard}]],${REST},"mode":"fancy"}`);
    const { x, parameters } = readJson(text, signature, fastCodec) as { x: Tensor; parameters: { W: Tensor } };
    expect(x).toEqual((readJson(text, signature) as { x: Tensor }).x);
    expect(x.data.buffer).toBe(parameters.W.data.buffer);
    expect(parameters.W.data).toEqual(new Float64Array([1]));
  });

  it('of all kinds of faults, the most basic is told first', () => {
    expect(refused('{"x":[[1],[]],"parameters":{"W":[["a"]]}}').faults.map(({ pointer }) => pointer)).toEqual([
      '/x/1',
      '/parameters/W/0/0',
    ]);
    expect(refused('{"x":[[1],[]],"y":1,"parameters":{"W":[[1]]}}').code).toBe('invalid-request');
  });
});
