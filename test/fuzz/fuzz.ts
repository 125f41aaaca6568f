/** npm run fuzz: FUZZ_RUNS requests (100,000), odd ones and good ones, by FUZZ_SEED. Exits with 1 when a promise is broken. */
import { watchMemory } from '../proof/memory.js';
import { finding, print } from '../proof/report.js';
import { startService } from '../service/process.js';
import { fuzzHttp } from './http.js';

const runs = Number(process.env.FUZZ_RUNS ?? 100_000);
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);

console.log(`FUZZ_RUNS=${runs} FUZZ_SEED=${seed}`);
// The weights of all requests differ: with room for few of them, memory that still grows is lost.
const service = await startService({ WEIGHTS_LIMIT: '1000000' });
const memory = watchMemory(service.pid);
const start = performance.now();
const { broken, ...fuzzed } = await fuzzHttp(service.url, runs, seed);
const seconds = Math.round((performance.now() - start) / 1000);
const { mib, ...resident } = memory.stop();
const kept = print('fuzz', { seed, seconds, ...fuzzed, memory: resident }, [
  finding('no failure, no hang, nothing that the document does not know', broken.length === 0, broken.join('\n')),
  finding('memory is level', resident.level, `${resident.quarters_mib.join(', ')} MiB, the least in each quarter`),
]);
process.exit((await service.stop()) === 0 && kept ? 0 : 1);
