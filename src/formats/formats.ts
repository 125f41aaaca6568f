import type { Formats } from './format.js';
import type { JsonCodec } from './json/codec.js';
import { jsonFormat } from './json/json.js';
import { safetensors } from './safetensors.js';

/** All formats. @param codec the fast road for JSON; without it all is read and written by the plain one */
export function formatsWith(codec?: JsonCodec): Formats {
  return { json: jsonFormat(codec), safetensors };
}
