import { readFileSync } from 'node:fs';

/** The version of the service, from package.json, which lies two folders up in src and in dist alike. */
export const VERSION: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
