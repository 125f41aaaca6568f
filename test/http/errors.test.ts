import { connect } from 'node:net';
import supertest from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROBLEM_TYPE, problemKinds } from '../../src/http/problems.js';
import { workerThat } from '../faulty-worker.js';
import { numbersFrom, operationCalled, tensorsFor } from '../values.js';
import { type Started, start } from './start.js';

const dims = { n_x: 2, n_a: 3, n_y: 2, m: 2, T_x: 4, T_da: 4 };
const valid = tensorsFor(operationCalled('lstmForward').request, dims, numbersFrom(1), {
  prediction: true,
  way: 0,
  extras: true,
});
const PATH = '/v1/lstm/forward';

let service: Started;
beforeAll(async () => {
  service = await start({ bodyLimit: 100_000 });
});
afterAll(() => service.stop());

const post = (body: string | Buffer, headers: Record<string, string> = {}) => {
  const request = supertest(service.url).post(PATH).set('content-type', 'application/json').set(headers);
  return request.serialize((raw) => raw).send(body);
};
const with_ = (changes: object) => JSON.stringify({ ...valid, ...changes });

interface Case {
  readonly what: string;
  readonly send: () => supertest.Test;
  readonly status: number;
  readonly code: keyof typeof problemKinds;
  readonly pointer?: string;
  readonly detail?: string;
}

const cases: Case[] = [
  { what: 'an empty body', send: () => post(''), status: 400, code: 'invalid-json', pointer: '' },
  {
    what: 'no body and no content type',
    send: () => supertest(service.url).post(PATH),
    status: 400,
    code: 'invalid-json',
    detail: 'the body is empty',
  },
  { what: 'trailing text', send: () => post(`${with_({})}x`), status: 400, code: 'invalid-json' },
  { what: 'a byte order mark', send: () => post(`\uFEFF${with_({})}`), status: 400, code: 'invalid-json' },
  { what: 'invalid UTF-8', send: () => post(Buffer.from([0x7b, 0x22, 0xff, 0x22])), status: 400, code: 'invalid-json' },
  { what: 'a non-object', send: () => post('[1, 2]'), status: 400, code: 'invalid-request', pointer: '' },
  { what: 'nesting', send: () => post(`{"x":${'['.repeat(90_000)}`), status: 400, code: 'invalid-json', pointer: '/x' },
  {
    what: 'an unknown member',
    send: () => post(with_({ Waax: 1 })),
    status: 400,
    code: 'invalid-request',
    pointer: '/Waax',
  },
  {
    what: '__proto__',
    send: () => post(with_({}).replace('{', '{"__proto__":{},')),
    status: 400,
    code: 'invalid-request',
    pointer: '/__proto__',
  },
  {
    what: 'a member given twice',
    send: () => post(with_({}).replace('{', '{"x":[[[1]]],')),
    status: 400,
    code: 'invalid-request',
    pointer: '/x',
  },
  {
    what: 'a string for a tensor',
    send: () => post(with_({ x: '1' })),
    status: 400,
    code: 'invalid-request',
    pointer: '/x',
  },
  {
    what: 'null for a tensor',
    send: () => post(with_({ a0: null })),
    status: 400,
    code: 'invalid-request',
    pointer: '/a0',
  },
  {
    what: 'null in a tensor',
    send: () => post(with_({ a0: [[1, null]] })),
    status: 422,
    code: 'invalid-tensor',
    pointer: '/a0/0/1',
  },
  {
    what: 'NaN in a tensor',
    send: () => post(with_({ a0: [[1, '@']] }).replace('"@"', 'NaN')),
    status: 400,
    code: 'invalid-json',
    pointer: '/a0/0/1',
    detail: 'NaN is not JSON, whose numbers are finite (byte ',
  },
  {
    what: '1e999',
    send: () => post(with_({ a0: [['@']] }).replace('"@"', '1e999')),
    status: 422,
    code: 'invalid-tensor',
    pointer: '/a0/0/0',
    detail: '/a0/0/0 is 1e999, which is too large for float64',
  },
  {
    what: 'a ragged tensor',
    send: () => post(with_({ a0: [[1, 2], [3]] })),
    status: 422,
    code: 'invalid-tensor',
    pointer: '/a0/1',
  },
  {
    what: 'an empty dimension',
    send: () => post(with_({ x: [[]] })),
    status: 422,
    code: 'invalid-tensor',
    pointer: '/x/0',
  },
  {
    what: 'a wrong rank',
    send: () => post(with_({ a0: [1, 2] })),
    status: 422,
    code: 'shape-mismatch',
    pointer: '/a0',
  },
  {
    what: 'a wrong shape',
    send: () => post(with_({ parameters: { ...(valid.parameters as object), Wf: [[1, 2]] } })),
    status: 422,
    code: 'shape-mismatch',
    pointer: '/parameters/Wf',
    detail: '/parameters/Wf has shape (1, 2), but (n_a, n_a + n_x) is (3, 5): n_a = 3 from /a0, n_x = 2 from /x',
  },
  {
    what: 'an overflow',
    send: () =>
      post(
        with_({
          parameters: {
            ...(valid.parameters as object),
            by: [[1.7e308], [1]],
            Wy: [
              [1.7e308, 1.7e308, 1.7e308],
              [0, 0, 0],
            ],
          },
          a0: [
            [9, 9],
            [9, 9],
            [9, 9],
          ],
        }),
      ),
    status: 422,
    code: 'non-finite-result',
    pointer: '/y/0/0/0',
  },
  {
    what: 'caches "elsewhere"',
    send: () => post(with_({ caches: 'elsewhere' })),
    status: 400,
    code: 'invalid-request',
    pointer: '/caches',
  },
  {
    what: 'a body over the limit',
    send: () => post(' '.repeat(100_001)),
    status: 413,
    code: 'payload-too-large',
    detail: 'the body has 100001 bytes, but the limit is 100000 bytes',
  },
  {
    what: 'a chunked body over the limit',
    send: () => {
      const request = supertest(service.url).post(PATH).set('content-type', 'application/json');
      for (let i = 0; i < 30; i++) request.write(' '.repeat(10_000));
      return request;
    },
    status: 413,
    code: 'payload-too-large',
    detail: 'the body has more than 100000 bytes, but the limit is 100000 bytes',
  },
  {
    what: 'another content type',
    send: () => post('x=1', { 'content-type': 'text/plain' }),
    status: 415,
    code: 'unsupported-media-type',
    detail: 'the body has Content-Type text/plain, but must be application/json in UTF-8',
  },
  ...['application/x-www-form-urlencoded', 'application/json, text/plain', 'application/json5', 'json'].map((type) => ({
    what: `a content type of ${type}`,
    send: () => post('x=1', { 'content-type': type }),
    status: 415,
    code: 'unsupported-media-type' as const,
    detail: `the body has Content-Type ${type}, but must be application/json in UTF-8`,
  })),
  {
    what: 'a body without a content type',
    send: () => supertest(service.url).post(PATH).unset('content-type').send(Buffer.from('{}')),
    status: 415,
    code: 'unsupported-media-type',
    detail: 'the body has ',
  },
  {
    what: 'another charset',
    send: () => post(with_({}), { 'content-type': 'application/json; charset=utf-16' }),
    status: 415,
    code: 'unsupported-media-type',
    detail: 'the body is in utf-16, but must be in UTF-8',
  },
  {
    what: 'a body that is packed in another way',
    send: () => post(with_({}), { 'content-encoding': 'br' }),
    status: 415,
    code: 'unsupported-media-type',
    detail: 'the body has Content-Encoding br, but must have gzip, deflate or none',
  },
  { what: 'an odd method', send: () => supertest(service.url).propfind(PATH), status: 405, code: 'method-not-allowed' },
  ...['/**/rnn/backward', '/:id(', '/v1/*', '/(.*)+'].map((path) => ({
    what: `a path that looks like a pattern, ${path}`,
    send: () => supertest(service.url).post(path).send({}),
    status: 404,
    code: 'not-found' as const,
  })),
  {
    what: 'a very long path',
    send: () => supertest(service.url).get(`/problems/${'a'.repeat(300)}`),
    status: 404,
    code: 'not-found',
  },
  {
    what: 'a path out of the docs',
    send: () => supertest(service.url).get('/docs/static/%2e%2e/%2e%2e/package.json'),
    status: 404,
    code: 'not-found',
  },
  {
    what: 'a file of the docs that is not there',
    send: () => supertest(service.url).get('/docs/static/nothing.js'),
    status: 404,
    code: 'not-found',
  },
  {
    what: 'a type that is not accepted',
    send: () => post(with_({}), { accept: 'text/html' }),
    status: 406,
    code: 'not-acceptable',
  },
  {
    what: 'an unknown path',
    send: () => supertest(service.url).get('/v1/elman/forward'),
    status: 404,
    code: 'not-found',
  },
  {
    what: 'an unknown problem',
    send: () => supertest(service.url).get('/problems/none'),
    status: 404,
    code: 'not-found',
  },
  { what: 'a wrong method', send: () => supertest(service.url).get(PATH), status: 405, code: 'method-not-allowed' },
  { what: 'a path that is not one', send: () => supertest(service.url).get('/%ZZ'), status: 400, code: 'invalid-http' },
];

describe('every bad request gets its problem, and the next one is answered', () => {
  it.each(cases)('$what: $status $code', async ({ send, status, code, pointer, detail }) => {
    const answer = await send();
    expect(answer.status, JSON.stringify(answer.body)).toBe(status);
    expect(answer.headers['content-type']).toBe(PROBLEM_TYPE);
    expect(answer.headers['server-timing']).toMatch(/dur=/);
    expect(answer.body).toMatchObject({
      type: `/problems/${code}`,
      title: problemKinds[code].title,
      status,
      code,
      request_id: answer.headers['x-request-id'],
      error: answer.body.detail,
    });
    expect(answer.text + JSON.stringify(answer.headers)).not.toMatch(
      /node_modules|\/src\/|\/dist\/|\.[jt]s:\d| {4}at /,
    );
    expect(answer.headers['x-content-type-options']).toBe('nosniff');
    if (pointer !== undefined) expect(answer.body.errors[0].pointer).toBe(pointer);
    if (detail !== undefined) expect(answer.body.detail).toContain(detail);
    if (code === 'invalid-json') expect(answer.body.errors[0].offset).toBeTypeOf('number');

    const next = await post(with_({}));
    expect(next.status).toBe(200);
  });

  it('a wrong method is told the right ones', async () => {
    const answer = await supertest(service.url).delete(PATH);
    expect(answer.headers.allow).toBe('POST, OPTIONS');
    expect((await supertest(service.url).post('/health/live')).headers.allow).toBe('GET, HEAD, OPTIONS');
    expect((await supertest(service.url).post('/docs/static/swagger-ui.css')).headers.allow).toBe('GET, HEAD, OPTIONS');
  });

  it.each([
    ['what is not HTTP', 'this is not HTTP\r\n\r\n', 400, 'invalid-http'],
    [
      'headers that are too long',
      `GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers-too-large',
    ],
  ])('%s is answered on the socket', async (_, text, status, code) => {
    const answer = await raw(text);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(JSON.parse(answer.split('\r\n\r\n')[1])).toMatchObject({ status, code });
  });

  it('every malformed request gets an id of its own, which the log has', async () => {
    const answer = await raw('nonsense\r\n\r\n');
    const id = /x-request-id: (\S+)/.exec(answer)?.[1];
    expect(JSON.parse(answer.split('\r\n\r\n')[1]).request_id).toBe(id);
    expect(service.log.find(({ reqId }) => reqId === id)).toMatchObject({ msg: 'request refused', status: 400 });
  });

  it.each([
    ['with its length', false],
    ['in chunks', true],
  ])(
    'a body far over the limit, sent %s, is read to its end, so that the client sees the answer',
    async (_, chunked) => {
      const bytes = new Uint8Array(30_000_000).fill(0x20);
      const parts = () => new Blob([bytes]).stream();
      const init = () => ({
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: chunked ? parts() : bytes,
        duplex: 'half',
      });
      for (let i = 0; i < 5; i++)
        expect(await fetch(service.url + PATH, init() as RequestInit).catch(String)).toHaveProperty('status', 413);
    },
  );

  it('a client that asks before it sends a body that is too large is told so at once', async () => {
    const answer = await raw(
      `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 500000\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1.1 413 /);
  });

  it.each([
    'application/json; charset=utf-8',
    'application/json;version=1, text/html;q=0.5',
    '*/*;q=0.1',
    'application/*',
  ])('Accept: %s is answered', async (accept) => {
    expect((await post(with_({}), { accept })).status).toBe(200);
  });

  it('a client that leaves in the middle of its body harms nobody', async () => {
    await new Promise<void>((resolve) => {
      const socket = connect(Number(new URL(service.url).port), '127.0.0.1', () => {
        socket.write(
          `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{"x"`,
        );
        setTimeout(() => socket.destroy(), 50);
      });
      socket.on('close', () => resolve());
    });
    expect((await post(with_({}))).status).toBe(200);
  });

  it('is described at /problems, one by one', async () => {
    const { body } = await supertest(service.url).get('/problems');
    expect(body.map(({ code }: { code: string }) => code)).toEqual(Object.keys(problemKinds));
    for (const { type, code } of body) {
      expect((await supertest(service.url).get(type)).body.code).toBe(code);
    }
  });
});

describe('what comes to the socket in an odd way', () => {
  const body = JSON.stringify(valid);
  const request = `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

  const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

  it.each(['', 'a', 'A.example.org:443', 'a_b:', '127.0.0.1:80', '[::1]:3000', 'xn--bcher-kva.example', 'a%20b'])(
    'Host: %s is answered',
    async (host) => {
      expect(await raw(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`)).toMatch(/^HTTP\/1.1 200 /);
    },
  );

  it('a head of 100 fields is answered', async () => {
    const text = `GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${'a: b\r\n'.repeat(98)}\r\n`;
    expect(await raw(text)).toMatch(/^HTTP\/1.1 200 /);
  });

  it.each([
    ['no Host', 'GET / HTTP/1.1\r\nconnection: close\r\n\r\n', 400, 'invalid-http'],
    ['two Hosts', 'GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n', 400, 'invalid-http'],
    ...['a b', 'a,b', 'a, a', 'a/b', 'u@a', '[::1', 'a:b', 'a:80:80', '<a>'].map(
      (host): [string, string, number, string] => [
        `a Host that is none, ${host}`,
        `GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`,
        400,
        'invalid-http',
      ],
    ),
    ['the same Host twice', 'GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n', 400, 'invalid-http'],
    ['two Hosts in HTTP/1.0', 'GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n', 400, 'invalid-http'],
    ['an empty Host and another one', 'GET / HTTP/1.1\r\nhost:\r\nhost: b\r\n\r\n', 400, 'invalid-http'],
    ...[
      'gzip, chunked',
      'identity, chunked',
      ', chunked',
      'gzip,chunked',
      'chunked, chunked',
      'chunked, gzip',
      'gzip\r\ntransfer-encoding: chunked',
    ].map((coding): [string, string, number, string] => [
      `Transfer-Encoding: ${coding}`,
      `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: ${coding}\r\n\r\n${chunked}GET / HTTP/1.1\r\nhost: a\r\n\r\n`,
      400,
      'invalid-http',
    ]),
    ['CONNECT', 'CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n', 400, 'invalid-http'],
    [
      'QUERY without a content type',
      `QUERY ${PATH} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`,
      405,
      'method-not-allowed',
    ],
    [
      'chunks, which HTTP/1.0 has not,',
      `POST ${PATH} HTTP/1.0\r\nconnection: keep-alive\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n${chunked}GET /`,
      400,
      'invalid-http',
    ],
    ['a head of 101 fields', `GET / HTTP/1.1\r\nhost: a\r\n${'a: b\r\n'.repeat(100)}\r\n`, 431, 'headers-too-large'],
    [
      'a head of thousands of fields, with a body that does not come,',
      `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n${'a:b\r\n'.repeat(1900)}\r\n`,
      431,
      'headers-too-large',
    ],
  ])('%s gets a problem', async (_, text, status, code) => {
    const answer = await raw(text);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer.match(/HTTP\/1.1 \d/g)).toHaveLength(1);
    expect(answer).toContain(PROBLEM_TYPE);
    expect(answer).toMatch(/^x-request-id: \S/m);
    expect(JSON.parse(answer.split('\r\n\r\n')[1])).toMatchObject({ status, code });
  });

  it.each(['chunked', 'Chunked', '  chunked'])('Transfer-Encoding: %j is chunks', async (coding) => {
    const answer = await raw(
      `POST ${PATH} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding:${coding}\r\n\r\n${chunked}`,
    );
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
  });

  it.each([
    ['/', 'GET, HEAD, OPTIONS'],
    ['/?a=b', 'GET, HEAD, OPTIONS'],
    ['/health/live', 'GET, HEAD, OPTIONS'],
    ['/metrics', 'GET, HEAD, OPTIONS'],
    ['/docs', 'GET, HEAD, OPTIONS'],
    [PATH, 'POST, OPTIONS'],
    [`http://a${PATH}`, 'POST, OPTIONS'],
    ['*', 'GET, HEAD, POST, DELETE, OPTIONS'],
  ])('OPTIONS %s is told what there is', async (path, allow) => {
    for (const more of ['', 'origin: https://page.example\r\n', 'content-length: 2\r\n']) {
      const answer = await raw(`OPTIONS ${path} HTTP/1.1\r\nhost: a\r\n${more}connection: close\r\n\r\n{}`);
      expect(answer).toMatch(/^HTTP\/1.1 204 /);
      expect(answer).toContain(`\r\nallow: ${allow}\r\n`);
      expect(answer).toMatch(/\r\nx-request-id: /);
      expect(answer.endsWith('\r\n\r\n')).toBe(true);
    }
  });

  it.each(['/nowhere', '/v1', '/v1/rnn', '/**'])('OPTIONS %s is 404', async (path) => {
    const answer = await raw(`OPTIONS ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1.1 404 /);
    expect(answer).toContain('"code":"not-found"');
  });

  it('an expectation that nobody knows is ignored', async () => {
    const answer = await raw(request.replace('\r\n', '\r\nexpect: foo\r\nconnection: close\r\n'));
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
  });

  it.each([
    ['what is not HTTP', 'nonsense\r\n\r\n'],
    ['CONNECT', 'CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n'],
  ])('%s behind a request does not overtake its answer', async (_, text) => {
    expect(await raw(request + text)).toMatch(/^HTTP\/1.1 200 /);
  });

  it('a client that breaks off a CONNECT harms nobody', async () => {
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
    socket.write('CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n', () => socket.resetAndDestroy());
    await new Promise((resolve) => socket.once('close', resolve));
    expect((await post(body)).status).toBe(200);
  });
});

describe('under limits', () => {
  it('a full queue refuses with 429 and Retry-After; the others are answered', async () => {
    const busy = await start({ workers: 1, queueLimit: 1 });
    const slow = JSON.stringify(
      tensorsFor(operationCalled('lstmForward').request, { ...dims, n_a: 100, m: 20, T_x: 20 }, numbersFrom(1), {
        prediction: false,
        way: 0,
        extras: false,
      }),
    );
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        fetch(busy.url + PATH, { method: 'POST', headers: { 'content-type': 'application/json' }, body: slow }),
      ),
    );
    const refused = answers.filter(({ status }) => status === 429);
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(2);
    expect(refused.length).toBeGreaterThanOrEqual(1);
    for (const answer of refused) {
      expect(answer.headers.get('retry-after')).toBe('1');
      expect(await answer.json()).toMatchObject({ code: 'queue-full' });
    }
    await busy.stop();
  });

  it('a queue of no length takes what the workers can begin at once', async () => {
    const busy = await start({ workers: 1, queueLimit: 0 });
    expect((await supertest(busy.url).post(PATH).send(valid)).status).toBe(200);
    await busy.stop();
  });

  it('a body that does not arrive is given up with 408', async () => {
    const impatient = await start({ workers: 1, requestTimeout: 300 });
    const text = `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`;
    const answer = await raw(text, impatient.url);
    expect(answer).toMatch(/^HTTP\/1.1 408 /);
    expect(JSON.parse(answer.split('\r\n\r\n')[1])).toMatchObject({ code: 'request-timeout' });
    await impatient.stop();
  });

  it('too much work is refused with 413', async () => {
    const small = await start({ workers: 1, workLimit: 1000 });
    const answer = await supertest(small.url).post(PATH).send(valid);
    expect(answer.status).toBe(413);
    expect(answer.body.code).toBe('work-too-large');
    expect(answer.body.detail).toMatch(/can take \d+ bytes, but the limit is 1000 bytes/);
    await small.stop();
  });

  it('a fault of the service is told as 500 without a word of how', async () => {
    const failing = await start({ workers: 1 });
    const { begin } = failing.pool;
    failing.pool.begin = (_, body, deadline) => begin('noSuchOperation', body, deadline);
    const answer = await supertest(failing.url).post(PATH).send(valid);
    expect(answer.status).toBe(500);
    expect(answer.body).toMatchObject({ code: 'internal', errors: [] });
    expect(answer.text).not.toMatch(/noSuchOperation|node_modules|\/src\/|\/dist\/|\.[jt]s:\d| {4}at /);
    expect(failing.log.find(({ msg }) => msg === 'request failed')).toMatchObject({ reqId: answer.body.request_id });
    await failing.stop();
  });

  it('a worker that dies takes its own request with it, and is replaced', async () => {
    const mortal = await start({ workers: 1, workerFile: workerThat(`if (operations[0] === 'die') process.exit(3)`) });
    const { begin } = mortal.pool;
    mortal.pool.begin = (_, body, deadline) => begin('die', body.slice(0, 0), deadline);
    expect((await supertest(mortal.url).post(PATH).send(valid)).body).toMatchObject({ status: 500, code: 'internal' });
    mortal.pool.begin = begin;
    expect((await supertest(mortal.url).post(PATH).send(valid)).status).toBe(200);
    await mortal.stop();
  });
});

/** Everything that comes back for a text, until the service closes the connection. */
function raw(text: string, url = service.url): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(text));
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('close', () => resolve(answer));
  });
}
