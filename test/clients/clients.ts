/** How a client in some language is generated, compiled and run; `npm run clients` installs what that needs. */
export interface Client {
  /** As its section in openapi/README.md is headed. */
  readonly name: string;
  /** Its folder beside this file, with a program that uses it. What is generated goes to `unroll` in it. */
  readonly folder: string;
  readonly program: string;
  /** Commands, and files beside this one, without which it cannot be tested. */
  readonly needs: readonly string[];
  /** As that section shows it: run where this repository is, it writes to `./unroll`. */
  readonly generate: string;
  /** Run in the folder. */
  readonly compile?: string;
  /** Run in the folder, with the addresses of two services: one that works, and one whose Redis is not there. */
  readonly run: string;
}

const typescript = {
  program: 'program.ts',
  compile:
    'tsc program.ts --ignoreConfig --rootDir .. --outDir build --strict --target es2022 --module nodenext --lib es2022,dom,dom.iterable --types node',
  run: 'node build/*/program.js',
};

const python = {
  program: 'program.py',
  needs: ['python/.venv/bin/openapi-python-client'],
  compile: 'python -m compileall -q unroll',
};

export const clients: readonly Client[] = [
  {
    ...typescript,
    name: 'TypeScript: swagger-typescript-api',
    folder: 'typescript/swagger-typescript-api',
    needs: [],
    generate: 'npm run client -- ./unroll',
  },
  {
    ...typescript,
    name: 'TypeScript: openapi-typescript and openapi-fetch',
    folder: 'typescript/openapi-fetch',
    needs: ['typescript/node_modules'],
    generate: 'openapi-typescript openapi/openapi.json --output ./unroll/unroll.d.ts',
  },
  {
    ...typescript,
    name: 'TypeScript: Hey API',
    folder: 'typescript/hey-api',
    needs: ['typescript/node_modules'],
    generate: 'openapi-ts --input ./openapi/openapi.json --output ./unroll',
  },
  {
    name: 'Go: oapi-codegen',
    folder: 'go',
    program: 'main.go',
    needs: ['go', 'go/bin/oapi-codegen'],
    generate: 'oapi-codegen -generate types,client -package unroll -o ./unroll/unroll.go openapi/openapi.json',
    compile: 'go build -buildvcs=false -o build/program .',
    run: 'build/program',
  },
  {
    ...python,
    name: 'Python: OpenAPI Generator',
    folder: 'python/openapi-generator',
    needs: [...python.needs, 'java'],
    generate: 'openapi-generator-cli generate -g python --package-name unroll -i openapi/openapi.json -o ./unroll',
    run: 'PYTHONPATH=unroll python program.py',
  },
  {
    ...python,
    name: 'Python: openapi-python-client',
    folder: 'python/openapi-python-client',
    generate:
      'openapi-python-client generate --meta none --overwrite --path openapi/openapi.json --output-path ./unroll',
    run: 'python program.py',
  },
  {
    name: 'Java: OpenAPI Generator',
    folder: 'java',
    program: 'Program.java',
    needs: ['javac', 'java/lib', 'python/.venv/bin/openapi-generator-cli'],
    generate:
      'openapi-generator-cli generate -g java --library native --additional-properties containerDefaultToNull=true --invoker-package unroll --api-package unroll --model-package unroll -i openapi/openapi.json -o ./unroll',
    compile: "javac -d build -cp 'lib/*' $(find unroll/src/main -name '*.java') Program.java",
    run: "java -cp 'build:lib/*' Program",
  },
];
