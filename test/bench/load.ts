import autocannon from 'autocannon';

/** What one round of requests gave. */
export interface Round {
  /** Milliseconds of each answer. */
  readonly latencies: readonly number[];
  readonly seconds: number;
  /** Answers that did not come, were not 2xx, or were other bytes than the first answer. */
  readonly errors: number;
}

/** One request, to be sent over and over. */
export interface Load {
  readonly requestBytes: number;
  readonly answerBytes: number;
  /** Rounds of doubling length until one has taken so long; resolves with the requests per second of that one. */
  warmUp(seconds: number): Promise<number>;
  /**
   * Sends the request `amount` times. A number rather than a time: all of them are answered, so that what the
   * service spent on them can be divided by it.
   */
  run(amount: number): Promise<Round>;
}

/**
 * A closed loop: each connection waits for its answer before it sends again.
 *
 * @throws Error if the request is refused
 */
export async function prepareLoad(url: string, body: Uint8Array<ArrayBuffer>, connections: number): Promise<Load> {
  const expected = await firstAnswer(url, body);
  const run = (amount: number) => sendAll(url, body, expected, connections, amount);
  const warmUp = async (seconds: number, amount = connections): Promise<number> => {
    const { latencies, errors, seconds: taken } = await run(amount);
    if (errors > 0) throw new Error(`${errors} of ${amount} requests failed or had another answer than the first`);
    return taken >= seconds ? latencies.length / taken : warmUp(seconds, 2 * amount);
  };
  return { requestBytes: body.length, answerBytes: Buffer.byteLength(expected), warmUp, run };
}

const HEADERS = { 'content-type': 'application/json' };

/** Every later answer must be these bytes: the same request, the same answer. */
async function firstAnswer(url: string, body: Uint8Array<ArrayBuffer>): Promise<string> {
  const response = await fetch(url, { method: 'POST', headers: HEADERS, body });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text.slice(0, 500)}`);
  JSON.parse(text);
  return text;
}

async function sendAll(
  url: string,
  body: Uint8Array<ArrayBuffer>,
  expectBody: string,
  connections: number,
  amount: number,
): Promise<Round> {
  const latencies: number[] = [];
  const start = performance.now();
  let end = start;
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const options: autocannon.Options = {
      url,
      method: 'POST',
      headers: HEADERS,
      body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
      expectBody,
      connections,
      amount,
      timeout: 600,
      bailout: 1, // a service that has died would be tried again for ever
      sampleInt: 50, // how soon the end is noticed
    };
    const instance = autocannon(options, (error, result) => (error ? reject(error) : resolve(result)));
    // Autocannon's own latencies are whole milliseconds, and its duration ends with a sample.
    instance.on('response', (_client, _status, _bytes, milliseconds) => {
      latencies.push(milliseconds);
      end = performance.now();
    });
  });
  const errors = result.errors + Math.max(result.mismatches, result.non2xx);
  return { latencies, seconds: (end - start) / 1000, errors };
}
