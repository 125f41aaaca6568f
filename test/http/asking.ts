import { createHash } from 'node:crypto';
import { connect } from 'node:net';

/** The smallest request that computes, and ways to send it. */

export const PATH = '/v1/rnn/forward';
export const BODY = '{"x":[[[1,0,-1]]],"a0":[[0]],"parameters":{"Wax":[[0.5]],"Waa":[[0.8]],"ba":[[0.25]]}}';

export const hashOf = (key: string) => createHash('sha256').update(key).digest('hex');
/** A caller and a key, as API_KEYS has them. */
export const entry = (name: string, key: string) => `${name}:${hashOf(key)}`;

export const post = (url: string, headers: Record<string, string> = {}, path = PATH) =>
  fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: BODY });

/** What comes back for a text, until the service closes the connection or the time is over. */
export function raw(url: string, text: string, limit = 20_000): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(text));
    setTimeout(() => socket.destroy(), limit).unref();
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('close', () => resolve(answer));
  });
}
