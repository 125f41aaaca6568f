import { nest, rnnBody } from '../bodies.js';

/** Caches that the polite caller has stored, and what it must be answered when it uses them. */
export interface Keepsake {
  /** `kept`, or what was answered instead. */
  isKept(): Promise<string>;
}

const DA = `,"da":${nest('1', 5, 4, 4)}`;

const body = (more: string) => rnnBody([3, 5, 4, 4], '0.25', more);

export async function keep(url: string, headers: Readonly<Record<string, string>>): Promise<Keepsake> {
  const post = async (path: string, body: string) => {
    const answer = await fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    });
    return answer.text();
  };
  const { cache_id } = JSON.parse(await post('/v1/rnn/forward', body(',"caches":"stored"')));
  const expected = await post('/v1/rnn/backward', body(DA));
  return {
    async isKept() {
      const answer = await post('/v1/rnn/backward', `{"cache_id":"${cache_id}"${DA}}`).catch(String);
      return answer === expected ? 'kept' : answer;
    },
  };
}
