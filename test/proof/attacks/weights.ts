import { nest, rnnBody } from '../bodies.js';
import type { Attack } from './attack.js';

const GOOD = rnnBody([2, 8, 1, 2], '0.5');

/** The same request with something else in place of its Wax. */
const withWax = (wax: string) => GOOD.replace(/"Wax":.*?,"Waa"/, `"Wax":${wax},"Waa"`);

const MALFORMED = [
  ...['1', '[]', '[[]]', '[1,2]', '[[[1]]]', '[[1,2],[3]]', '"text"', 'null', '{}', 'true', '[[1,"2"]]', '[[1,null]]'],
  nest('0.5', 9, 2),
  nest('0.5', 8, 3),
  `[${nest('0.5', 2)}${',[0.5]'.repeat(7)}]`,
  nest('1e999', 8, 2),
].map(withWax);

export const weights: Attack = {
  what: 'weights of the wrong rank, ragged or of other types, in a stream: a malformed request changes nothing for the next ones',
  service: 'tight',
  spoils: true,
  act: (siege) => siege.repeat(4, ...MALFORMED.map((body) => siege.post('/v1/rnn/forward', body))),
};
