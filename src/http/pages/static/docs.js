// Shows the OpenAPI document with Swagger UI. The errors of an operation are a line, each with a link to what it means.

const root = new URL('../../', document.currentScript.src);

function withShortErrors(document) {
  const { responses } = document.components;
  for (const operation of Object.values(document.paths).flatMap((methods) => Object.values(methods))) {
    const errors = [];
    for (const [status, { $ref }] of Object.entries(operation.responses)) {
      if ($ref === undefined) continue;
      const { content } = responses[$ref.split('/').at(-1)];
      const codes = Object.keys(content['application/problem+json'].examples);
      errors.push(`${status} ${codes.map((code) => `[${code}](${new URL(`problems/${code}`, root)})`).join(', ')}`);
      delete operation.responses[status];
    }
    operation.responses.errors = { description: `As application/problem+json: ${errors.join('; ')}` };
  }
  // A proxy may offer the service under a path that it does not tell.
  document.servers = [{ url: root.pathname.replace(/\/$/, '') || '/' }];
  return document;
}

const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', follow);
follow();

fetch(new URL('openapi.json', root))
  .then((answer) => answer.json())
  .then((spec) => {
    window.SwaggerUIBundle({
      spec: withShortErrors(spec),
      dom_id: '#operations',
      deepLinking: true,
      validatorUrl: null,
      defaultModelsExpandDepth: -1,
    });
  });
