import type { Operation } from '../../operations/operation.js';
import { html, page } from './layout.js';

/** For a person who finds the service: what it is, and one operation to try. */
export function homePage(root: string, kernels: string, operations: readonly Operation[]): string {
  const main = html`<section class="hero">
<h1>Recurrent networks, forwards and backwards</h1>
<p>Send sequences as JSON, get activations, predictions and gradients: RNN and LSTM, a cell or a whole sequence, in float64
or float32.</p>
</section>
<section class="panel">
<h2>Try an operation</h2>
<noscript><p>The form needs JavaScript. What it sends is JSON: the <a href="${root}openapi.json">OpenAPI document</a> has examples.</p></noscript>
<form id="try">
<div class="choices">
<label>Operation <select id="operation"></select></label>
<label>Example <select id="example"></select></label>
<label>API key <input id="key" type="password" autocomplete="off" placeholder="only if this instance asks for one"></label>
</div>
<div class="sides">
<div class="side"><label>Request <textarea id="request" spellcheck="false"></textarea></label>
<button type="submit" disabled>Send</button></div>
<div class="side"><div class="caption">Answer <span id="status" role="status"></span></div>
<p id="detail" hidden></p>
<pre id="answer" tabindex="0" aria-label="Answer"></pre></div>
</div>
</form>
</section>
<section>
<h2>Operations</h2>
<div class="list">
${operations.map(
  ({ id, path, summary, tag }) =>
    html`<a href="${root}docs#/${tag.name}/${id}"><code>${path}</code><span>${summary}</span></a>\n`,
)}</div>
</section>
<section>
<h2>More</h2>
<div class="list">
<a href="${root}docs"><code>/docs</code><span>All operations, with what goes in and what comes out</span></a>
<a href="${root}openapi.json"><code>/openapi.json</code><span>The OpenAPI document, for generators of clients</span></a>
<a href="${root}problems"><code>/problems</code><span>What each error means</span></a>
<a href="${root}health/ready"><code>/health/ready</code><span>Whether this instance can take work</span></a>
<a href="${root}metrics"><code>/metrics</code><span>What it counts and measures, for Prometheus</span></a>
</div>
<p class="quiet">This instance computes with the kernels called ${kernels}.</p>
</section>`;
  return page({ title: 'Unroll', root, main, scripts: ['home.js'] });
}
