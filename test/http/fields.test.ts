import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BODY, entry, PATH } from './asking.js';
import { type Started, start } from './start.js';

const KEY = 'ann-key';

let open: Started;
let closed: Started;
beforeAll(async () => {
  const settings = { CORS_ORIGINS: 'https://page.example', TRUST_PROXY: '127.0.0.1', RATE_LIMIT: 1000 };
  open = await start({ workers: 1, kernels: 'scalar', settings });
  const API_KEYS = entry('ann', KEY);
  closed = await start({ workers: 1, kernels: 'scalar', settings: { API_KEYS } });
});
afterAll(() => Promise.all([open.stop(), closed.stop()]));

/** As it is written: clients tidy their headers. */
function send({ url }: Started, head: string, body = ''): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.on('data', (data) => {
      answer += data;
    });
    socket.on('close', () => resolve(answer));
    socket.write(`${head}\r\nconnection: close\r\n\r\n${body}`);
  });
}

const compute = (service: Started, ...lines: string[]) => {
  const usual = ['host: a', 'content-type: application/json', `content-length: ${BODY.length}`];
  return send(service, [`POST ${PATH} HTTP/1.1`, ...usual, ...lines].join('\r\n'), BODY);
};

const NAMES = [
  ...['accept', 'accept-charset', 'accept-encoding', 'accept-language', 'authorization', 'baggage', 'cookie'],
  ...[
    'content-encoding',
    'content-language',
    'content-md5',
    'expect',
    'forwarded',
    'from',
    'if-match',
    'if-modified-since',
  ],
  ...[
    'if-none-match',
    'if-range',
    'if-unmodified-since',
    'max-forwards',
    'origin',
    'prefer',
    'pragma',
    'range',
    'referer',
  ],
  ...['te', 'traceparent', 'tracestate', 'trailer', 'upgrade', 'user-agent', 'via'],
  ...['x-api-key', 'x-deadline-ms', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-prefix', 'x-forwarded-proto'],
  'x-request-id',
];

describe('a header field that is there but empty counts as absent', () => {
  it.each(NAMES)('%s', async (name) => {
    for (const empty of [`${name}:`, `${name}: `, `${name}:\t`, `${name}:\r\n${name.toUpperCase()}: `]) {
      const answer = await compute(open, empty);
      expect(answer).toMatch(/^HTTP\/1.1 200 /);
      expect(answer).not.toContain('access-control-allow-origin');
      expect(answer).toMatch(/^x-request-id: [\da-f]{8}-/m);
    }
  });

  it('a content type of a request without a body', async () => {
    const asked = (line: string) => send(open, `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 0${line}`);
    expect(await asked('\r\ncontent-type:')).toMatch(/^HTTP\/1.1 400 /);
    expect(await asked('')).toMatch(/^HTTP\/1.1 400 /);
  });

  it.each([
    [['x-api-key:', `authorization: Bearer ${KEY}`], 200],
    [[`x-api-key: ${KEY}`, 'authorization:'], 200],
    [['x-api-key:'], 401],
    [['authorization:'], 401],
    [['x-api-key:', 'authorization:'], 401],
    [['x-api-key:', 'x-api-key:'], 401],
  ])('a key: %j is %i, and an empty one is none', async (lines, status) => {
    const answer = await compute(closed, ...lines);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    if (status === 401) expect(answer).toMatch(/^www-authenticate: Bearer\r$/m);
  });

  it.each(['content-length', 'transfer-encoding'])('but not %s, by which others may see another end', async (name) => {
    expect(await compute(open, `${name}:`)).toMatch(/^HTTP\/1.1 400 /);
  });

  it('but Host, which a request must have', async () => {
    expect(await send(open, 'GET / HTTP/1.1\r\nhost:')).toMatch(/^HTTP\/1.1 200 /);
    expect(await send(open, 'GET / HTTP/1.1')).toMatch(/^HTTP\/1.1 400 /);
  });
});

describe('Accept', () => {
  it.each([
    ['*', 200],
    ['* ', 200],
    ['*;q=0.5', 200],
    ['*; q=.2', 200],
    ['text/html, *', 200],
    ['*,text/html', 200],
    ['text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2', 200],
    ['*;charset=utf-8', 200],
    ['*;q=0', 406],
    ['application/json;q=0, *', 406],
    ['**', 406],
    ['text/*', 406],
    ['text/html;a=*', 406],
    ['text/html, */', 406],
  ])('%s: %i', async (accept, status) => {
    expect(await compute(open, `accept: ${accept}`)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });
});
