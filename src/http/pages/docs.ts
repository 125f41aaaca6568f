import { html, page } from './layout.js';

/** All operations, each with a form to try it: Swagger UI. */
export function docsPage(root: string): string {
  const main = html`<h1>Operations</h1>
<noscript><p>This page needs JavaScript. What it shows is in the <a href="${root}openapi.json">OpenAPI document</a>.</p></noscript>
<div id="operations"></div>`;
  return page({
    title: 'Operations – Unroll',
    root,
    main,
    styles: ['swagger-ui.css', 'docs.css'],
    scripts: ['swagger-ui-bundle.js', 'docs.js'],
  });
}
