import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { type Body, bodies, byteMutation, mutated } from './bodies.js';
import { documented, valuesOf } from './document.js';

/** What is sent over one connection. */
export interface Message {
  readonly what: string;
  readonly writes: readonly Buffer[];
  /** The requests that it is made of, each of which must be answered; undefined: nobody knows what it is. */
  readonly requests: readonly Request[] | undefined;
}

export interface Request {
  readonly method: string;
  readonly path: string;
  /** Must it be answered with 200, or with 422 where a number becomes too large? */
  readonly valid: boolean;
  /** Must it be refused? */
  readonly refused?: boolean | undefined;
}

type Header = readonly [string, string];

/** Headers that make no difference, whatever they hold. */
const idleHeaders: fc.Arbitrary<Header> = fc.oneof(
  fc.tuple(fc.constant('x-request-id'), visible(200)),
  fc.tuple(
    fc.constant('traceparent'),
    fc.oneof(visible(80), fc.stringMatching(/^0[01f]-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]$/)),
  ),
  fc.tuple(
    fc.constantFrom(
      'tracestate',
      'baggage',
      'cookie',
      'user-agent',
      'referer',
      'x-forwarded-for',
      'range',
      'if-none-match',
      'te',
    ),
    visible(100),
  ),
  fc.tuple(fc.constantFrom('authorization', 'x-api-key'), visible(100)),
  fc.tuple(
    fc.constant('accept-encoding'),
    fc.constantFrom('gzip', 'deflate', 'x-gzip;q=0.5', 'gzip, br', '*', '*;q=0', 'identity;q=0', ''),
  ),
  fc.tuple(fc.constant('accept'), fc.constantFrom('*/*', 'application/json', 'text/html, */*;q=0.1', 'application/*')),
  fc.tuple(fc.constant('connection'), fc.constantFrom('keep-alive', 'x', 'te, x')),
  fc.constant<Header>(['expect', '100-continue']),
  fc.tuple(fc.constant('origin'), fc.constantFrom('null', 'https://example.org', 'x')),
);

/** Headers that the service looks at. */
const readHeaders: fc.Arbitrary<Header> = fc.oneof(
  fc.tuple(
    fc.constant('content-type'),
    fc.oneof(
      visible(40),
      fc.constantFrom(
        'text/plain',
        'application/json; charset=utf-16',
        'application/json;charset="utf-8"',
        'APPLICATION/JSON',
        'application/json, text/plain',
        '',
      ),
    ),
  ),
  fc.tuple(
    fc.constant('content-encoding'),
    fc.constantFrom('gzip', 'deflate', 'gzip, gzip', 'identity', 'br', 'x', ''),
  ),
  fc.tuple(
    fc.constant('accept'),
    fc.oneof(visible(40), fc.constantFrom('text/html', 'application/json;q=0', ',;,', '*/*;q=x', '')),
  ),
  fc.tuple(
    fc.constant('x-deadline-ms'),
    fc.oneof(
      visible(12),
      fc.constantFrom('0', '-1', '1', '5', '1e3', '1.5', '0x10', '99999999999999999999', ' 7 ', '5, 5', ''),
    ),
  ),
  fc.tuple(
    fc.constantFrom('expect', 'connection', 'upgrade', 'host', 'http2-settings', 'x-http-method-override'),
    fc.oneof(visible(20), fc.constantFrom('upgrade', 'h2c', 'websocket', 'close')),
  ),
);

/** Characters that a header's value may have, and that have no meaning for framing. */
function visible(most: number): fc.Arbitrary<string> {
  return fc
    .string({ maxLength: most, unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) })
    .map((text) => text.trim());
}

const METHODS = ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'QUERY', 'PROPFIND', 'SEARCH'];

const PATHS = [
  '/',
  '/docs',
  '/docs/',
  '/docs/static/style.css',
  '/openapi.json',
  '/problems',
  '/problems/internal',
  '/metrics',
  '/v1',
  '/v2/health/live',
];

/** Changes of a path that leave it one word. */
const pathChange = fc.constantFrom<(path: string) => string>(
  (path) => `${path}/`,
  (path) => `/${path}`,
  (path) => path.toUpperCase(),
  (path) => path.replace('/v1/', '/v1/../v1/'),
  (path) => path.replace('/v1/', '/v1/%2e%2e/%2e%2e/etc/'),
  (path) => path.replace('n', '%6e'),
  (path) => path.replace('n', '%6E%'),
  (path) => `${path}?x=${'y'.repeat(3000)}`,
  (path) => `${path}?`,
  (path) => `${path}#a`,
  (path) => `${path}%00`,
  (path) => `${path};jsessionid=1`,
  (path) => `${path}/${'a'.repeat(5000)}`,
  (path) => `http://elsewhere.example${path}`,
  () => '*',
  () => '/%',
  () => '/%c0%ae%c0%ae/',
  () => '/docs/static/../../package.json',
  () => '/docs/static/%2e%2e/%2e%2e/package.json',
);

function framed(method: string, path: string, headers: readonly Header[], body: Buffer): Buffer {
  const lines = [['host', 'unroll'] as const, ...headers].map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'), body]);
}

/** The usual headers, and others beside them or in place of them. */
function withUsual(headers: readonly Header[], body: Buffer): Header[] {
  const usual: Header[] = [['content-type', 'application/json']];
  const kept = usual.filter(([name]) => !headers.some((other) => other[0] === name));
  return [...kept, ...headers, ['content-length', String(body.length)]];
}

const byDocument: fc.Arbitrary<Body> = fc
  .constantFrom(...documented.filter(({ body }) => body))
  .chain(({ path, body = {} }) =>
    valuesOf(body).map((value) => ({ path, bytes: Buffer.from(JSON.stringify(value)), valid: false })),
  );

const anyBody = fc.oneof({ weight: 4, arbitrary: bodies }, { weight: 1, arbitrary: byDocument });

/** A request to an operation: the body is what matters. */
const ordinary: fc.Arbitrary<Message> = fc
  .tuple(anyBody, fc.oneof({ weight: 4, arbitrary: fc.constant([]) }, fc.array(idleHeaders, { maxLength: 3 })))
  .map(([{ path, bytes, valid, refused }, headers]) => ({
    what: 'body',
    writes: [framed('POST', path, withUsual(headers, bytes), bytes)],
    requests: [{ method: 'POST', path, valid, refused }],
  }));

/** Heads with more and more fields, all of which together are no larger than a head may be. */
const manyHeaders: fc.Arbitrary<Message> = fc
  .tuple(anyBody, fc.integer({ min: 20, max: 1500 }))
  .map(([{ path, bytes }, count]) => {
    const headers = Array.from({ length: count }, (_, i): Header => [`x${i % 100}`, '1']);
    return {
      what: 'many headers',
      writes: [framed('POST', path, withUsual(headers, bytes), bytes)],
      requests: [{ method: 'POST', path, valid: false }],
    };
  });

/** A request whose head is odd, but says where it ends. */
const oddHead: fc.Arbitrary<Message> = fc
  .tuple(
    anyBody,
    fc.oneof({ weight: 3, arbitrary: fc.constant('POST') }, fc.constantFrom(...METHODS)),
    fc.oneof(
      { weight: 3, arbitrary: fc.constant((path: string) => path) },
      pathChange,
      fc.constantFrom(...PATHS).map((other) => () => other),
    ),
    fc.array(fc.oneof(readHeaders, idleHeaders), { maxLength: 4 }),
  )
  .map(([{ path: usual, bytes }, method, change, headers]) => {
    const path = change(usual);
    return {
      what: 'head',
      writes: [framed(method, path, withUsual(headers, bytes), bytes)],
      requests: [{ method, path, valid: false }],
    };
  });

/** The body in chunks, and the bytes in pieces, however they are cut. */
const inChunks: fc.Arbitrary<Message> = fc
  .tuple(
    anyBody,
    fc.array(fc.nat(), { maxLength: 4 }),
    fc.array(fc.nat(), { maxLength: 4 }),
    fc.constantFrom('', ';a=b', ';a="b c"'),
    fc.constantFrom('', 'x-trailer: 1\r\n'),
  )
  .map(([{ path, bytes, valid }, chunkCuts, pieceCuts, extension, trailer]) => {
    const chunks = cutAt(bytes, chunkCuts).map((chunk) =>
      Buffer.concat([Buffer.from(`${chunk.length.toString(16)}${extension}\r\n`), chunk, Buffer.from('\r\n')]),
    );
    const body = Buffer.concat([...chunks, Buffer.from(`0\r\n${trailer}\r\n`)]);
    const headers: Header[] = [
      ['content-type', 'application/json'],
      ['transfer-encoding', 'chunked'],
    ];
    return {
      what: 'chunks',
      writes: cutAt(framed('POST', path, headers, body), pieceCuts),
      requests: [{ method: 'POST', path, valid }],
    };
  });

const PACKINGS = [
  ['gzip', gzipSync],
  ['x-gzip', gzipSync],
  ['deflate', deflateSync],
  ['deflate', deflateRawSync],
] as const;

/** Packed bodies, whole, cut short, with something behind them, with changed bytes, or far longer than they look. */
const packed: fc.Arbitrary<Message> = fc
  .tuple(
    anyBody,
    fc.constantFrom(...PACKINGS),
    fc.constantFrom('whole', 'cut', 'longer', 'changed', 'bomb'),
    fc.nat(),
    fc.array(idleHeaders, { maxLength: 2 }),
    fc.array(fc.nat(), { maxLength: 3 }),
  )
  .map(([{ path, bytes, valid, refused }, [encoding, pack], fate, at, headers, cuts]) => {
    const whole = pack(fate === 'bomb' ? Buffer.concat([bytes, Buffer.alloc(2 ** 18, 0x20), Buffer.from('x')]) : bytes);
    const made: Record<typeof fate, () => Buffer> = {
      whole: () => whole,
      cut: () => whole.subarray(0, at % whole.length),
      longer: () => Buffer.concat([whole, Buffer.from('x')]),
      changed: () => mutated(whole, [{ kind: 'replace', at: at % whole.length, with: Buffer.of(at % 256) }]),
      bomb: () => whole,
    };
    const body = made[fate]();
    const isWhole = fate === 'whole';
    return {
      what: `packed: ${fate}`,
      writes: cutAt(framed('POST', path, [...withUsual(headers, body), ['content-encoding', encoding]], body), cuts),
      requests: [
        {
          method: 'POST',
          path,
          valid: isWhole && valid,
          refused: isWhole ? refused : fate !== 'changed',
        },
      ],
    };
  });

/** HTTP/1.0 knows no chunks: who reads them all the same can be made to see another request than a proxy does. */
const chunksInHttp10: fc.Arbitrary<Message> = inChunks.map(({ writes, requests = [] }) => ({
  what: 'chunks in HTTP/1.0',
  writes: [Buffer.from(Buffer.concat(writes).toString('latin1').replace(' HTTP/1.1\r\n', ' HTTP/1.0\r\n'), 'latin1')],
  requests: requests.map((one) => ({ ...one, valid: false, refused: true })),
}));

/** A request whose client leaves in the middle. */
const aborted: fc.Arbitrary<Message> = fc.tuple(fc.oneof(ordinary, inChunks), fc.nat()).map(([{ writes }, at]) => {
  const bytes = Buffer.concat(writes);
  return { what: 'aborted', writes: [bytes.subarray(0, 1 + (at % (bytes.length - 1)))], requests: undefined };
});

function cutAt(bytes: Buffer, at: readonly number[]): Buffer[] {
  const cuts = [0, ...at.map((one) => one % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return cuts
    .slice(1)
    .map((end, i) => bytes.subarray(cuts[i], end))
    .filter(({ length }) => length > 0);
}

/** Several requests at once, without waiting for answers. */
const pipelined: fc.Arbitrary<Message> = fc
  .oneof(
    { weight: 9, arbitrary: fc.array(ordinary, { minLength: 2, maxLength: 5 }) },
    // More than the service takes of one connection at a time, some of them.
    {
      weight: 1,
      arbitrary: fc
        .tuple(ordinary, fc.integer({ min: 10, max: 400 }))
        .map(([one, n]) => new Array<Message>(n).fill(one)),
    },
  )
  .map((messages) => ({
    what: 'pipeline',
    writes: [Buffer.concat(messages.flatMap(({ writes }) => writes))],
    requests: messages.flatMap(({ requests = [] }) => requests),
  }));

/** Lies about where a request ends, and heads that are none. */
const LIES: readonly ((length: number) => readonly Header[])[] = [
  (length) => [['content-length', String(length + 10)]],
  (length) => [['content-length', String(Math.max(0, length - 3))]],
  () => [['content-length', '-1']],
  () => [['content-length', '+5']],
  () => [['content-length', '0x10']],
  () => [['content-length', '999999999999999999999']],
  () => [['content-length', '99999999999']],
  (length) => [['content-length', `${length}, ${length}`]],
  (length) => [
    ['content-length', String(length)],
    ['content-length', String(length)],
  ],
  (length) => [
    ['content-length', String(length)],
    ['content-length', String(length + 1)],
  ],
  (length) => [
    ['content-length', String(length)],
    ['transfer-encoding', 'chunked'],
  ],
  () => [['transfer-encoding', 'chunked']],
  () => [['transfer-encoding', 'chunked, chunked']],
  () => [['transfer-encoding', 'gzip, chunked']],
  () => [['transfer-encoding', 'identity']],
  () => [['transfer-encoding', ' chunked']],
  () => [['transfer-encoding', 'xchunked']],
  () => [
    ['x-long', 'v'.repeat(20_000)],
    ['content-length', '0'],
  ],
  () => [...Array.from({ length: 2500 }, (_, i): Header => [`x${i}`, '1']), ['content-length', '0']],
  (length) => [
    ['x\0y', 'z'],
    ['content-length', String(length)],
  ],
  (length) => [
    ['x', 'a\0b'],
    ['content-length', String(length)],
  ],
  (length) => [
    ['x', 'a\rb'],
    ['content-length', String(length)],
  ],
  (length) => [
    ['x ', 'space before the colon'],
    ['content-length', String(length)],
  ],
  (length) => [
    ['x', 'folded\r\n onto another line'],
    ['content-length', String(length)],
  ],
  (length) => [
    ['host', 'twice'],
    ['content-length', String(length)],
  ],
  (length) => [
    ['expect', '100-continue'],
    ['content-length', String(length + 1)],
  ],
];

const lying: fc.Arbitrary<Message> = fc
  .tuple(anyBody, fc.constantFrom(...LIES), fc.constantFrom('POST', 'POST', 'GET'))
  .map(([{ path, bytes }, lie, method]) => ({
    what: 'lie',
    writes: [framed(method, path, [['content-type', 'application/json'], ...lie(bytes.length)], bytes)],
    requests: undefined,
  }));

/** A request with some of its bytes changed, head and body alike. */
const damaged: fc.Arbitrary<Message> = fc
  .tuple(fc.oneof(ordinary, inChunks, pipelined), fc.array(byteMutation, { minLength: 1, maxLength: 3 }), fc.nat(400))
  .map(([{ writes }, mutations, within]) => {
    const bytes = Buffer.concat(writes);
    const near = mutations.map((one) => ({ ...one, at: one.at % Math.min(bytes.length, within + 1) }));
    return { what: 'damage', writes: [mutated(bytes, near)], requests: undefined };
  });

const START_LINES = [
  'GET /\r\n\r\n',
  'GET / HTTP/1.0\r\n\r\n',
  'GET / HTTP/9.9\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n',
  '\r\n\r\n\r\n',
  'HEAD /\xff HTTP/1.1\r\nhost: a\r\n\r\n',
  'GET  / HTTP/1.1\r\n\r\n',
  'get / HTTP/1.1\r\nhost: a\r\n\r\n',
  '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
];

const garbage: fc.Arbitrary<Message> = fc
  .oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc
      .tuple(fc.constantFrom(...START_LINES), fc.uint8Array({ maxLength: 50 }))
      .map(([line, more]) => Buffer.concat([Buffer.from(line, 'latin1'), more])),
  )
  .map((bytes) => ({ what: 'garbage', writes: [bytes], requests: undefined }));

export const messages: fc.Arbitrary<Message> = fc.oneof(
  { weight: 10, arbitrary: ordinary },
  { weight: 4, arbitrary: oddHead },
  { weight: 2, arbitrary: inChunks },
  { weight: 2, arbitrary: packed },
  { weight: 1, arbitrary: manyHeaders },
  { weight: 1, arbitrary: chunksInHttp10 },
  { weight: 1, arbitrary: aborted },
  { weight: 1, arbitrary: pipelined },
  { weight: 1, arbitrary: lying },
  { weight: 1, arbitrary: damaged },
  { weight: 1, arbitrary: garbage },
);
