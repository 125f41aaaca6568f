import { VERSION } from '../version.js';

/** Text that is HTML already. */
export interface Html {
  readonly html: string;
}

type Part = string | number | Html | readonly Html[];

/** HTML with values put in, which are escaped unless they are HTML themselves. */
export function html(texts: TemplateStringsArray, ...parts: Part[]): Html {
  return { html: texts.map((text, i) => text + (i < parts.length ? written(parts[i]) : '')).join('') };
}

function written(part: Part): string {
  if (typeof part !== 'object') return String(part).replace(/[&<>"]/g, (sign) => ENTITIES[sign]);
  return [part]
    .flat()
    .map((one) => (one as Html).html)
    .join('');
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

export interface Page {
  readonly title: string;
  /** What the address of the page must be followed by to come to that of the service: ./ or ../, or an absolute path. */
  readonly root: string;
  readonly main: Html;
  /** Files of /docs/static, beside those of every page. */
  readonly styles?: readonly string[];
  readonly scripts?: readonly string[];
}

/** All pages have one frame. Addresses are relative, so that pages work under the path of a proxy, too. */
export function page({ title, root, main, styles = [], scripts = [] }: Page): string {
  const at = `${root}docs/static`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" type="image/svg+xml" href="${at}/mark.svg">
${[...styles, 'style.css'].map((file) => html`<link rel="stylesheet" href="${at}/${file}">\n`)}${scripts.map((file) => html`<script src="${at}/${file}" defer></script>\n`)}</head>
<body>
<header class="top">
<a class="brand" href="${root}"><img src="${at}/mark.svg" alt="" width="36" height="36">Unroll</a>
<nav><a href="${root}docs">Operations</a><a href="${root}problems">Errors</a><a href="${root}openapi.json">OpenAPI</a></nav>
</header>
<main>
${main}
</main>
<footer>Unroll ${VERSION}</footer>
</body>
</html>
`.html;
}
