/**
 * npm run example [-- weather | training]: examples over HTTP. UNROLL_URL names a service that runs already; without it one is
 * started.
 */
import { startService } from '../service/process.js';
import { training } from './training.js';
import { weather } from './weather.js';

const examples: Readonly<Record<string, (url: string) => Promise<void>>> = { weather, training };

async function run(name: string): Promise<void> {
  const example = examples[name];
  if (!example) throw new Error(`there is no example ${name}, but ${Object.keys(examples).join(' and ')}`);
  const running = process.env.UNROLL_URL;
  if (running) return example(running);
  const service = await startService();
  await example(service.url).finally(service.stop);
}

run(process.argv[2] ?? 'weather').catch(({ message, cause }: Error) => {
  console.error(cause ? `${message}: ${cause}` : message);
  process.exitCode = 1;
});
