import autocannon from 'autocannon';

/** What one round of requests gave. */
export interface Round {
  /** Milliseconds of each answer. */
  readonly latencies: readonly number[];
  readonly seconds: number;
  /** Answers that did not come or were not 2xx. */
  readonly errors: number;
}

/** Requests, to be sent over and over. */
export interface Load {
  readonly answerBytes: number;
  /** Sends one request. */
  once(): Promise<Answer>;
  /** Rounds of doubling length until one has taken so long; resolves with the requests per second of that one. */
  warmUp(seconds: number): Promise<number>;
  /**
   * Sends so many requests. A number rather than a time: all of them are answered, so that what the service spent on
   * them can be divided by it.
   */
  run(amount: number): Promise<Round>;
}

export type Body = Uint8Array<ArrayBuffer>;

const HEADERS = { 'content-type': 'application/json' };

/**
 * A closed loop: each connection waits for its answer before it sends again. They walk through the bodies in turn, each
 * from another one on, and go on where the last round ended.
 *
 * @throws Error if a request is refused, or if one that is sent again has another answer
 */
export async function prepareLoad(url: string, bodies: readonly Body[], connections: number): Promise<Load> {
  const once = () => post(url, bodies[0]);
  const expected = (await once()).bytes;
  let sent = 0; // by each connection, in earlier rounds
  const run = (amount: number) => {
    const first = sent;
    sent += Math.ceil(amount / connections);
    return sendAll(url, bodies, first, connections, amount);
  };
  const warmUp = async (seconds: number, amount = connections): Promise<number> => {
    const { latencies, errors, seconds: taken } = await run(amount);
    if (errors > 0) throw new Error(`${errors} of ${amount} requests failed`);
    if (taken < seconds) return warmUp(seconds, 2 * amount);
    if (!(await once()).bytes.equals(expected)) throw new Error(`${url} gave two answers to one request`);
    return latencies.length / taken;
  };
  return { answerBytes: expected.length, once, warmUp, run };
}

export interface Answer {
  readonly headers: Headers;
  readonly bytes: Buffer;
}

/** @throws Error if the request is refused */
export async function post(url: string, body: Body): Promise<Answer> {
  const response = await fetch(url, { method: 'POST', headers: HEADERS, body });
  const bytes = Buffer.from(await response.arrayBuffer());
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${bytes.toString('utf8', 0, 500)}`);
  return { headers: response.headers, bytes };
}

async function sendAll(
  url: string,
  bodies: readonly Body[],
  first: number,
  connections: number,
  amount: number,
): Promise<Round> {
  const latencies: number[] = [];
  const requests = bodies.map((body): autocannon.Request => {
    return { method: 'POST', headers: HEADERS, body: Buffer.from(body.buffer, body.byteOffset, body.byteLength) };
  });
  let connection = 0;
  const setupClient = (client: autocannon.Client) => {
    const from = (first + Math.floor((connection++ * requests.length) / connections)) % requests.length;
    client.setRequests([...requests.slice(from), ...requests.slice(0, from)].map((request) => ({ ...request })));
  };
  const start = performance.now();
  let end = start;
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const options: autocannon.Options = {
      url,
      connections,
      amount,
      setupClient,
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
  return { latencies, seconds: (end - start) / 1000, errors: result.errors + result.non2xx };
}
