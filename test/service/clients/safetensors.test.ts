import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ask, askJson } from '../../ask.js';
import { isHere, shell } from '../../clients/commands.js';
import { flat, type JsonObject, numbersFrom, operationCalled, tensorsFor } from '../../values.js';

/** Reads a file with the reader of those who made the format, and prints its tensors as JSON. */
const READ = `
import json, struct, sys
from safetensors import deserialize
LETTERS = {"F64": "d", "F32": "f"}
def numbers(tensor):
    letter = LETTERS[tensor["dtype"]]
    return struct.unpack("<%d%s" % (len(tensor["data"]) // struct.calcsize(letter), letter), tensor["data"])
tensors = deserialize(open(sys.argv[1], "rb").read())
print(json.dumps({name: {"shape": tensor["shape"], "dtype": tensor["dtype"], "data": numbers(tensor)} for name, tensor in tensors}))
`;
const PYTHON = 'python/.venv/bin/python';

const isInstalled = isHere(PYTHON);
if (!isInstalled) console.info('stored caches are not read by another library: it is not here (npm run clients)');

describe.skipIf(!isInstalled && process.env.CI !== 'true')('stored caches, read by the safetensors library', () => {
  it.each([
    ['rnnForward', 'float64', 'F64'],
    ['lstmForward', 'float32', 'F32'],
  ])('are those that %s would answer inline, in %s', (id, dtype, type) => {
    const dims = { n_x: 3, n_a: 5, n_y: 2, m: 2, T_x: 4 };
    const choices = { prediction: true, way: 0, extras: true };
    const request = { ...tensorsFor(operationCalled(id).request, dims, numbersFrom(1), choices), dtype };
    const outcome = ask(id, { ...request, caches: 'stored' });
    if (!outcome.ok || !outcome.deposit) throw new Error('nothing is stored');
    const folder = mkdtempSync(join(tmpdir(), 'unroll-safetensors-'));
    try {
      writeFileSync(join(folder, 'read.py'), READ);
      writeFileSync(join(folder, 'caches'), Buffer.concat(outcome.deposit));
      const read = JSON.parse(shell(folder, 'python read.py caches'));
      const { parameters, ...caches } = askJson(id, { ...request, caches: 'inline' }).caches as JsonObject;
      const expected = { ...caches, ...prefixed('parameters.', parameters as JsonObject) };
      expect(Object.keys(read).sort()).toEqual(Object.keys(expected).sort());
      for (const [name, tensor] of Object.entries(expected)) {
        expect(read[name].dtype, name).toBe(type);
        const round = dtype === 'float32' ? Math.fround : Number;
        expect(read[name].data, name).toEqual(flat(tensor).map(round));
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

function prefixed(prefix: string, values: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [prefix + name, value]));
}
