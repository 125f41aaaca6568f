// The form on the first page: it sends an example of the OpenAPI document, or what was made of it, and shows the answer.

const root = new URL('../../', document.currentScript.src);
/** @type {(id: string) => any} */
const at = (id) => document.getElementById(id);
const [operation, example, request, status, detail, answer, send] = [
  at('operation'),
  at('example'),
  at('request'),
  at('status'),
  at('detail'),
  at('answer'),
  document.querySelector('#try button'),
];

/** Of the caches that were stored last, which an example by cache_id can take. */
let cacheId;
const operations = {};

start();

async function start() {
  const { paths } = await (await fetch(new URL('openapi.json', root))).json();
  for (const [path, { post }] of Object.entries(paths)) if (post) operations[post.operationId] = { path, ...post };
  for (const tag of new Set(Object.values(operations).map(({ tags }) => tags[0]))) {
    const group = document.createElement('optgroup');
    group.label = tag;
    for (const { operationId, path, tags } of Object.values(operations)) {
      if (tags[0] === tag) group.append(new Option(path, operationId));
    }
    operation.append(group);
  }
  operation.value = 'rnnForward';
  showExamples();
  send.disabled = false;
}

function examples() {
  return operations[operation.value].requestBody.content['application/json'].examples;
}

function showExamples() {
  example.replaceChildren(...Object.keys(examples()).map((name) => new Option(name, name)));
  showRequest();
}

function showRequest() {
  const { value } = examples()[example.value];
  const body = 'cache_id' in value && cacheId ? { ...value, cache_id: cacheId } : value;
  request.value = laidOut(JSON.stringify(body));
  show('', '', '');
}

function show(state, text, body) {
  status.textContent = state;
  detail.replaceChildren(...text);
  detail.hidden = text.length === 0;
  answer.textContent = body;
}

operation.addEventListener('change', showExamples);
example.addEventListener('change', showRequest);
at('try').addEventListener('submit', async (event) => {
  event.preventDefault();
  send.disabled = true;
  show('…', '', '');
  const key = at('key').value;
  const headers = { 'content-type': 'application/json', ...(key && { 'x-api-key': key }) };
  const start = performance.now();
  try {
    const url = new URL(operations[operation.value].path.slice(1), root);
    const reply = await fetch(url, { method: 'POST', headers, body: request.value });
    const text = await reply.text();
    const ms = performance.now() - start;
    const problem = reply.ok ? undefined : JSON.parse(text);
    if (reply.ok) cacheId = /"cache_id":"([^"]+)"/.exec(text)?.[1] ?? cacheId;
    show(`${reply.status} in ${ms.toFixed(1)} ms`, problem ? explained(problem) : [], laidOut(text));
    status.className = reply.ok ? 'good' : 'bad';
  } catch (error) {
    show('no answer', [String(error.message ?? error)], '');
    status.className = 'bad';
  }
  send.disabled = false;
});

/** What a problem says, and where it is described. */
function explained({ detail, code, title }) {
  const link = document.createElement('a');
  link.href = new URL(`problems/${code}`, root);
  link.textContent = title;
  return [`${detail}. `, link];
}

/** JSON with each member on a line, and arrays that are short. The numbers stay as they are written. */
function laidOut(json) {
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s"[\]{},:]+/g) ?? [];
  const open = []; // of each bracket that is not closed yet: whether its members stand on lines of their own
  let text = '';
  const line = () => `\n${'  '.repeat(open.length)}`;
  tokens.forEach((token, i) => {
    if ('[{'.includes(token)) {
      open.push(token === '{' ? tokens[i + 1] !== '}' : open.at(-1) !== false && !isShort(tokens, i));
      text += token + (open.at(-1) ? line() : '');
    } else if (']}'.includes(token)) {
      text += (open.pop() ? line() : '') + token;
    } else if (token === ',') text += open.at(-1) ? `,${line()}` : ', ';
    else text += token === ':' ? ': ' : token;
  });
  return text;
}

const SHORT = 44;

/** Whether the array that begins at a token fits into a line. */
function isShort(tokens, start) {
  let length = 0;
  let depth = 0;
  for (let i = start; length <= SHORT && i < tokens.length; i++) {
    if ('[{'.includes(tokens[i])) depth++;
    if (']}'.includes(tokens[i]) && --depth === 0) return true;
    length += tokens[i].length;
  }
  return false;
}
