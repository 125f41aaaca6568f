import { readFileSync } from 'node:fs';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const CALL = /curl -s localhost:3000(\S+) .*? -d '([^']+)'\n```\n\n(?:.*\n\n)?```json\n(.+)\n```/g;

/** The README's calls with curl, each with the answer that is printed below it. */
export const calls = [...readme.matchAll(CALL)].map(([, path, body, printed]) => ({ path, body, printed }));
