/** How a client in some language is generated, compiled and run; `npm run clients` installs what that needs. */
export interface Client {
  /** As the README's section on it is headed. */
  readonly name: string;
  /** Its folder beside this file, with a program that uses it. What is generated goes to `unroll` in it. */
  readonly folder: string;
  readonly program: string;
  /** Commands, and files beside this one, without which it cannot be tested. */
  readonly needs: readonly string[];
  /** As the README shows it: run where this repository is, it writes to `./unroll`. */
  readonly generate: string;
  /** Run in the folder. */
  readonly compile?: string;
  /** Run in the folder, with the addresses of two services: one that works, and one whose Redis is not there. */
  readonly run: string;
}

const typescript = {
  program: 'program.ts',
  compile:
    'tsc program.ts --ignoreConfig --outDir build --strict --target es2022 --module nodenext --lib es2022,dom,dom.iterable --types node',
  run: 'node build/program.js',
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
];
