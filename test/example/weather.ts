/**
 * npm run example: four weeks of real weather through an LSTM, forwards and backwards, over HTTP.
 *
 * The weather of each day goes to POST /v1/lstm/forward, which answers with what the hidden units say of it and a
 * guess of what kind of day it was. How wrong the guesses are is computed here; the gradient of that goes to
 * POST /v1/lstm/backward, which answers with the gradients of the input, the initial states and the gates'
 * parameters.
 */
import { readFileSync } from 'node:fs';
import { printBackward, printExchange, printForward } from './printing.js';

/** Tensors are nested arrays, outermost axis first: x[feature][week][day]. */
type Matrix = number[][];
export type Sequence = number[][][];
type Parameters = Record<string, Matrix>;

export interface ForwardAnswer {
  a: Sequence; // hidden states (n_a, m, T_x)
  y: Sequence; // predictions   (n_y, m, T_x)
  c: Sequence; // memory states (n_a, m, T_x)
  caches: object; // what backward needs; goes back as it came
}

type Gate = 'f' | 'i' | 'c' | 'o';
export type Gradients = { dx: Sequence; da0: Matrix; dc0: Matrix } & Record<`dW${Gate}` | `db${Gate}`, Matrix>;

const FEATURES = ['precipitation', 'temp_max', 'temp_min', 'wind'];
const WEEKS_FROM = ['2012-01-16', '2013-01-16', '2014-01-16', '2015-01-16'];
const [n_x, n_a, m, T_x] = [FEATURES.length, 6, WEEKS_FROM.length, 7];
const RATE = 0.5;

export async function weather(url: string): Promise<void> {
  const weeks = readWeeks();
  const classes = [...new Set(weeks.flat().map(({ weather }) => weather))].sort();
  const x = FEATURES.map((feature) => standardised(weeks.map((week) => week.map((day) => Number(day[feature])))));
  const a0 = matrix(n_a, m, () => 0);
  const parameters = untrained(classes.length);
  console.log(`n_x = ${n_x} features, n_a = ${n_a} hidden units, n_y = ${classes.length} kinds of weather,`);
  console.log(`m = ${m} weeks (from 16 January of 2012, 2013, 2014 and 2015), T_x = ${T_x} days\n`);

  const request = { x, a0, parameters, caches: 'inline' };
  const forward = await post<ForwardAnswer>(url, '/v1/lstm/forward', request);
  printExchange('POST /v1/lstm/forward', request, forward);
  printForward(weeks[0], classes, forward.answer);

  // Mean cross-entropy of the guesses, y = softmax(u), u = Wy·a + by: du = (y − targets) / count, da = Wyᵀ·du.
  const { y, caches } = forward.answer;
  const targets = sequence(classes.length, (k, j, t) => (weeks[j][t].weather === classes[k] ? 1 : 0));
  const du = sequence(classes.length, (k, j, t) => (y[k][j][t] - targets[k][j][t]) / (m * T_x));
  const da = sequence(n_a, (i, j, t) => classes.reduce((sum, _, k) => sum + parameters.Wy[k][i] * du[k][j][t], 0));

  const backward = await post<{ gradients: Gradients }>(url, '/v1/lstm/backward', { da, caches });
  const { gradients } = backward.answer;
  printExchange('POST /v1/lstm/backward', { da, caches }, backward);
  printBackward(weeks[0], FEATURES, da, gradients);

  const moved = descend(parameters, gradients);
  const after = await post<ForwardAnswer>(url, '/v1/lstm/forward', { x, a0, parameters: moved });
  const losses = [y, after.answer.y].map((guesses) => crossEntropy(guesses, targets).toFixed(4));
  console.log(`What the gradients are for: one step against them (parameter − ${RATE} · gradient), and the mean`);
  console.log(`cross-entropy of the guesses falls from ${losses.join(' to ')}.`);
}

export interface Reply<Answer> {
  readonly answer: Answer;
  readonly timing: string | null;
}

/** Sends one request. An answer that is not 2xx is a problem (RFC 9457), whose detail says what is wrong. */
async function post<Answer>(url: string, path: string, request: object): Promise<Reply<Answer>> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(new URL(path, url), { method: 'POST', headers, body: JSON.stringify(request) });
  const answer = (await response.json()) as Answer & { detail?: string };
  if (!response.ok) throw new Error(`POST ${path} was answered with ${response.status}: ${answer.detail}`);
  return { answer, timing: response.headers.get('server-timing') };
}

// The data

export type Day = Record<string, string>;

/** Days as "date,precipitation,temp_max,temp_min,wind,weather", measured in Seattle from 2012 to 2015. */
function readWeeks(): Day[][] {
  const file = new URL('../../node_modules/vega-datasets/data/seattle-weather.csv', import.meta.url);
  const lines = readFileSync(file, 'utf8').trim().split(/\r?\n/);
  const [names, ...rows] = lines.map((line) => line.split(','));
  const days = rows.map((row): Day => Object.fromEntries(row.map((value, column) => [names[column], value])));
  const starts = WEEKS_FROM.map((from) => days.findIndex(({ date }) => date === from));
  return starts.map((start) => days.slice(start, start + T_x));
}

/** Mean 0 and standard deviation 1 over all weeks and days, so that no feature outweighs the others by its unit. */
function standardised(values: Matrix): Matrix {
  const all = values.flat();
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
  const deviation = Math.hypot(...all.map((value) => value - mean)) / Math.sqrt(all.length);
  return values.map((row) => row.map((value) => (value - mean) / deviation));
}

/** Weights between ±1/√n_a from a fixed seed: the same on every machine, and nobody has trained them. */
function untrained(n_y: number): Parameters {
  let state = 2012;
  const next = () => {
    state = (state * 75 + 74) % 65_537;
    return (state / 32_768 - 1) / Math.sqrt(n_a);
  };
  const parameters: Parameters = { Wy: matrix(n_y, n_a, next), by: matrix(n_y, 1, () => 0) };
  for (const gate of ['f', 'i', 'c', 'o']) {
    parameters[`W${gate}`] = matrix(n_a, n_a + n_x, next);
    parameters[`b${gate}`] = matrix(n_a, 1, () => 0);
  }
  return parameters;
}

// The loss

function crossEntropy(y: Sequence, targets: Sequence): number {
  const [p, target] = [y.flat(2), targets.flat(2)];
  return -p.reduce((sum, value, i) => sum + target[i] * Math.log(value), 0) / (m * T_x);
}

/** Moves the parameters of the gates against their gradients. */
function descend(parameters: Parameters, gradients: Gradients): Parameters {
  const moved = { ...parameters };
  for (const gate of ['f', 'i', 'c', 'o'] as const) {
    moved[`W${gate}`] = moveAgainst(parameters[`W${gate}`], gradients[`dW${gate}`]);
    moved[`b${gate}`] = moveAgainst(parameters[`b${gate}`], gradients[`db${gate}`]);
  }
  return moved;
}

function moveAgainst(values: Matrix, gradient: Matrix): Matrix {
  return values.map((row, i) => row.map((value, j) => value - RATE * gradient[i][j]));
}

function matrix(rows: number, columns: number, value: () => number): Matrix {
  return Array.from({ length: rows }, () => Array.from({ length: columns }, value));
}

function sequence(n: number, value: (i: number, j: number, t: number) => number): Sequence {
  const [examples, steps] = [Array.from({ length: m }), Array.from({ length: T_x })];
  return Array.from({ length: n }, (_, i) => examples.map((_, j) => steps.map((_, t) => value(i, j, t))));
}
