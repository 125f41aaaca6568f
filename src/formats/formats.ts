import type { Formats } from './format.js';
import type { JsonCodec } from './json/codec.js';
import { jsonFormat } from './json/json.js';
import { safetensors } from './safetensors.js';

/** All formats. @param codec reads and writes JSON fast; without it, the plain reader and writer do all the work */
export function formatsWith(codec?: JsonCodec): Formats {
  return { json: jsonFormat(codec), safetensors };
}
