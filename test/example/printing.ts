import { alignedTable } from '../table.js';
import type { Day, ForwardAnswer, Gradients, Reply, Sequence } from './weather.js';

export function printForward(week: Day[], classes: string[], { a, y }: ForwardAnswer): void {
  const guess = (t: number) => classes.map((name, k) => ({ name, p: y[k][0][t] })).sort((a, b) => b.p - a.p)[0];
  console.log(
    'The first week, day by day: what was measured, the hidden units, and the untrained guess of the weather.\n',
  );
  const table = alignedTable([...week.keys()], {
    day: (t) => formatDate(week[t].date, { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' }),
    'rain mm': (t) => week[t].precipitation,
    'min °C': (t) => week[t].temp_min,
    'max °C': (t) => week[t].temp_max,
    ...Object.fromEntries(a.map((unit, i) => [`a[${i}]`, (t: number) => unit[0][t].toFixed(3)])),
    'most probable': (t) => `${guess(t).name} (${(100 * guess(t).p).toFixed(1)} %)`,
    actual: (t) => week[t].weather,
  });
  console.log(`${table}\n`);
}

export function printBackward(week: Day[], features: string[], da: Sequence, { dx, ...others }: Gradients): void {
  const at = (tensor: Sequence, t: number) => norm(tensor.flatMap((row) => row.map((steps) => steps[t]))).toFixed(5);
  console.log(
    'Day by day, all four weeks together: the size of the gradient that was sent, and of the one that came back',
  );
  console.log('for the measurements of that day, which act on that day and on all days after it.\n');
  const steps = alignedTable([...week.keys()], {
    day: (t) => formatDate(week[t].date, { day: 'numeric', month: 'long' }),
    '‖da[:,:,t]‖': (t) => at(da, t),
    '‖dx[:,:,t]‖': (t) => at(dx, t),
    ...Object.fromEntries(features.map((name, i) => [`of ${name}`, (t: number) => at([dx[i]], t)])),
  });
  console.log(`${steps}\n\nThe gradients of the parameters, summed over weeks and days, and of the initial states.\n`);
  const parameters = alignedTable(Object.entries(others), {
    gradient: ([name]) => name,
    shape: ([, gradient]) => shapeOf(gradient),
    norm: ([, gradient]) => norm(gradient.flat()).toFixed(5),
  });
  console.log(`${parameters}\n`);
}

export function printExchange<Answer extends object>(
  title: string,
  request: object,
  { answer, timing }: Reply<Answer>,
): void {
  console.log(`${title}\n  sent\n${shapesOf(request)}\n  received\n${shapesOf(answer)}`);
  console.log(`  server-timing (milliseconds)\n    ${timing}\n`);
}

/** One line for the tensors of an object, those of one shape together, and one for each object in it. */
function shapesOf(values: object, path = ''): string {
  const byShape = new Map<string, string[]>();
  const inner: string[] = [];
  for (const [member, value] of Object.entries(values)) {
    if (Array.isArray(value)) byShape.set(shapeOf(value), [...(byShape.get(shapeOf(value)) ?? []), member]);
    else if (typeof value === 'object') inner.push(shapesOf(value, path ? `${path}.${member}` : member));
  }
  const tensors = [...byShape].map(([shape, members]) => `${members.join(' ')} ${shape}`);
  const own = tensors.length > 0 ? [`    ${path ? `${path}: ` : ''}${tensors.join(', ')}`] : [];
  return [...own, ...inner].join('\n');
}

function shapeOf(tensor: unknown): string {
  const shape: number[] = [];
  for (let inner = tensor; Array.isArray(inner); inner = inner[0]) shape.push(inner.length);
  return `(${shape.join(', ')})`;
}

function formatDate(date: string, parts: Intl.DateTimeFormatOptions): string {
  return new Date(date).toLocaleDateString('en-GB', { ...parts, timeZone: 'UTC' });
}

function norm(values: number[]): number {
  return Math.hypot(...values);
}
