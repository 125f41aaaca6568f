/** Bodies of RNN requests of any size, made quickly: all numbers are the same text. */

export type RnnDims = readonly [n_x: number, n_a: number, m: number, T_x: number];

export const nest = (value: string, ...sizes: number[]) =>
  sizes.reduceRight((inner, n) => `[${new Array(n).fill(inner).join()}]`, value);

/**
 * Of /v1/rnn/forward, and with `da` among `more` of /v1/rnn/backward.
 *
 * @param weight the number in Waa, which is most of the body where n_a is large
 */
export function rnnBody(dims: RnnDims, value: string, more = '', weight = value): string {
  const [n_x, n_a, m, T_x] = dims;
  const parameters = `{"Wax":${nest(value, n_a, n_x)},"Waa":${nest(weight, n_a, n_a)},"ba":${nest(value, n_a, 1)}}`;
  return `{"x":${nest(value, n_x, m, T_x)},"a0":${nest(value, n_a, m)},"parameters":${parameters}${more}}`;
}
