/**
 * npm run example -- training: an LSTM learns to write this README, one character after the other, over HTTP.
 *
 * Each step is one call of POST /v1/lstm/forward_backward, which answers with the loss and the gradients of all parameters.
 * What is left for a client is below: batches of text, and Adam. STEPS says how many steps to take.
 */
import { readFileSync } from 'node:fs';

const [n_a, m, T_x] = [128, 32, 50];
const [RATE, BETA1, BETA2, EPSILON] = [2e-3, 0.9, 0.999, 1e-8];

type Matrix = number[][];

interface Answer {
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Matrix>>;
  readonly gradient_norm: number;
  readonly a_last: Matrix;
  readonly c_last: Matrix;
}

export async function train(url: string, steps: number, report: (step: number, answer: Answer) => void): Promise<void> {
  const text = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const characters = [...new Set(text)].sort();
  const codes = [...text].map((character) => characters.indexOf(character));
  const [n_x, n_y] = [characters.length, characters.length];
  const random = randomFrom(1);

  const shapes: Record<string, [rows: number, columns: number]> = { Wy: [n_y, n_a], by: [n_y, 1] };
  for (const gate of ['f', 'i', 'c', 'o'])
    Object.assign(shapes, { [`W${gate}`]: [n_a, n_a + n_x], [`b${gate}`]: [n_a, 1] });
  const parameters = Object.fromEntries(
    Object.entries(shapes).map(([name, [rows, columns]]) => {
      const scale = name.startsWith('W') ? 1 / Math.sqrt(columns) : 0;
      return [name, matrix(rows, columns, () => scale * random())];
    }),
  );
  const moments = Object.entries(shapes).map(([name, [rows, columns]]) => {
    return { name, first: matrix(rows, columns, () => 0), second: matrix(rows, columns, () => 0) };
  });
  const wanted = [
    'loss',
    'gradient_norm',
    'a_last',
    'c_last',
    ...Object.keys(shapes).map((name) => `gradients/d${name}`),
  ];
  let [a0, c0] = [matrix(n_a, m, () => 0), matrix(n_a, m, () => 0)];

  for (let step = 1; step <= steps; step++) {
    // Example j reads its own part of the text, and goes on where it stopped.
    const windowsOf = (shift: number) =>
      Array.from({ length: m }, (_, j) => {
        const start = Math.floor((j * codes.length) / m) + (step - 1) * T_x + shift;
        return Array.from({ length: T_x }, (_, t) => codes[(start + t) % codes.length]);
      });
    const answer = await post<Answer>(`${url}/v1/lstm/forward_backward`, {
      ids: windowsOf(0),
      targets: windowsOf(1),
      loss: 'cross_entropy',
      clip_norm: 5,
      return: wanted,
      a0,
      c0,
      parameters,
    });
    report(step, answer);
    [a0, c0] = [answer.a_last, answer.c_last];

    // Adam (Kingma and Ba, 2015)
    const [bias1, bias2] = [1 - BETA1 ** step, 1 - BETA2 ** step];
    for (const { name, first, second } of moments) {
      for (const [i, row] of answer.gradients[`d${name}`].entries()) {
        const [values, means, squares] = [parameters[name][i], first[i], second[i]];
        for (let k = 0; k < row.length; k++) {
          means[k] = BETA1 * means[k] + (1 - BETA1) * row[k];
          squares[k] = BETA2 * squares[k] + (1 - BETA2) * row[k] * row[k];
          values[k] -= (RATE * means[k]) / bias1 / (Math.sqrt(squares[k] / bias2) + EPSILON);
        }
      }
    }
  }
}

function matrix(rows: number, columns: number, value: () => number): Matrix {
  return Array.from({ length: rows }, () => Array.from({ length: columns }, value));
}

/** Numbers from −1 to 1, the same every time: a linear congruential generator. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return (2 * state) / 2_147_483_647 - 1;
  };
}

async function post<T>(url: string, body: object): Promise<T> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error((answer as { detail: string }).detail);
  return answer as T;
}

export async function training(url: string): Promise<void> {
  const steps = Number(process.env.STEPS ?? 30);
  const start = performance.now();
  await train(url, steps, (step, { loss, gradient_norm }) => {
    if (step > 1 && step % 10 > 0) return;
    console.log(`step ${step}: loss ${loss.toFixed(4)}, norm of the gradients ${gradient_norm.toFixed(3)}`);
  });
  console.log(`${((1000 * steps) / (performance.now() - start)).toFixed(1)} steps a second`);
}
