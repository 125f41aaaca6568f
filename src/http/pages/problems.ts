import { problemExamples } from '../openapi/problem-examples.js';
import { type ProblemCode, problemKinds } from '../problems.js';
import { html, page } from './layout.js';

const kinds = Object.entries(problemKinds).sort(([, a], [, b]) => a.status - b.status);

/** All errors that there are. */
export function problemsPage(root: string): string {
  const main = html`<h1>Errors</h1>
<p>Every error is a problem document (<code>application/problem+json</code>, RFC 9457). Its <code>type</code> leads to one of these pages;
<code>code</code> is the same for programs.</p>
<div class="list problems">
${kinds.map(
  ([code, { status, title }]) =>
    html`<a href="${root}problems/${code}"><b>${status}</b><code>${code}</code><span>${title}</span></a>\n`,
)}</div>`;
  return page({ title: 'Errors – Unroll', root, main });
}

/** Where the `type` of a problem leads. */
export function problemPage(root: string, code: ProblemCode): string {
  const { status, title, meaning, retryAfter } = problemKinds[code];
  const waiting = html`<p>Waiting helps: the answer has <code>Retry-After</code>, in seconds.</p>\n`;
  const main = html`<p class="crumbs"><a href="${root}problems">Errors</a></p>
<h1>${title}</h1>
<p><b class="status">${status}</b> <code>${code}</code></p>
<p>${meaning}</p>
${retryAfter === undefined ? '' : waiting}<h2>An example</h2>
<pre>${JSON.stringify(problemExamples[code], null, 2)}</pre>`;
  return page({ title: `${title} – Unroll`, root, main });
}
