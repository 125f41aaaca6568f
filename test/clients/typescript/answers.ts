/** The README's body, in every client's own types too. */
interface Inputs {
  x: number[][][];
  a0: number[][];
  parameters: { Wax: number[][]; Waa: number[][]; ba: number[][]; Wya?: number[][] | null; by?: number[][] | null };
}

type Forward<Caches> = (
  url: string,
  request: Inputs & { caches?: 'inline' | 'stored' },
) => Promise<{ caches?: Caches; cache_id?: string }>;

type Backward<Caches> = (
  url: string,
  way: Inputs | { caches: Caches | undefined } | { cache_id: string | undefined },
) => Promise<unknown>;

/** Prints what the test compares: the answers that a client gets to the same calls, whichever it is. */
export async function printAnswers<Caches>(
  request: Inputs,
  forward: Forward<Caches>,
  backward: Backward<Caches>,
): Promise<void> {
  const [url = '', urlWithoutStore = ''] = process.argv.slice(2);
  const { x, a0, parameters } = request;
  const { Wax, Waa, ba } = parameters;
  const inline = await forward(url, { ...request, caches: 'inline' });
  const stored = await forward(url, { ...request, caches: 'stored' });
  const misshapen = { x, a0, parameters: { ...parameters, Wax: [[1, 2]] } };
  const answers = {
    forward: await forward(url, request),
    fromInputs: await backward(url, { x, a0, parameters: { Wax, Waa, ba } }),
    fromInline: await backward(url, { caches: inline.caches }),
    fromStored: await backward(url, { cache_id: stored.cache_id }),
    refused: await forward(url, misshapen).catch((problem) => problem),
    unavailable: await forward(urlWithoutStore, { ...request, caches: 'stored' }).catch((problem) => problem),
  };
  console.log(JSON.stringify(answers));
}
