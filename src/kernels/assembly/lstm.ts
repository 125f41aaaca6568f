import { hadamard } from './elements';
import { sigmoidAll, tanhAll } from './exponential';
import { madd, splat, VECTOR } from './vector';

/** Bytes of each array that are computed in one go: all of them together stay in the first cache. */
const CHUNK: usize = 2048;
const TANH_C: usize = memory.data(<i32>CHUNK, 16);

/**
 * What an LSTM cell does beside its products, for the elements of a time step:
 *
 *     f = σ(zf), i = σ(zi), c = tanh(zc), o = σ(zo)     in place
 *     cNext = f · cPrev + i · c
 *     aNext = o · tanh(cNext)
 */
export function gates<T>(f: usize, i: usize, c: usize, o: usize, cNext: usize, aNext: usize, cPrev: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  for (let at: usize = 0; at < bytes; at += CHUNK) {
    const some = <i32>(min(CHUNK, bytes - at) / sizeof<T>());
    sigmoidAll<T>(f + at, some);
    sigmoidAll<T>(i + at, some);
    tanhAll<T>(c + at, c + at, some);
    sigmoidAll<T>(o + at, some);
    cell<T>(cNext + at, f + at, cPrev + at, i + at, c + at, some);
    tanhAll<T>(cNext + at, aNext + at, some);
    hadamard<T>(aNext + at, aNext + at, o + at, some);
  }
}

/** cNext = f · cPrev + i · c */
function cell<T>(cNext: usize, f: usize, cPrev: usize, i: usize, c: usize, length: i32): void {
  const bytes = <usize>length * sizeof<T>();
  let at: usize = 0;
  for (; at + 2 * VECTOR <= bytes; at += 2 * VECTOR) {
    const f0 = v128.load(f + at, 0), f1 = v128.load(f + at, 16);
    const p0 = v128.load(cPrev + at, 0), p1 = v128.load(cPrev + at, 16);
    const i0 = v128.load(i + at, 0), i1 = v128.load(i + at, 16);
    const c0 = v128.load(c + at, 0), c1 = v128.load(c + at, 16);
    const n0 = madd<T>(f0, p0, v128.mul<T>(i0, c0)), n1 = madd<T>(f1, p1, v128.mul<T>(i1, c1));
    v128.store(cNext + at, n0, 0);
    v128.store(cNext + at, n1, 16);
  }
  for (; at < bytes; at += sizeof<T>()) {
    const product = v128.mul<T>(v128.load_splat<T>(i + at), v128.load_splat<T>(c + at));
    const next = madd<T>(v128.load_splat<T>(f + at), v128.load_splat<T>(cPrev + at), product);
    v128.store_lane<T>(cNext + at, next, 0);
  }
}

/**
 * The backward of gates(): the gradients of the gates before their activations, and of the cell before the step.
 * dcPrev may be dc.
 *
 *     g = dc + da · o · (1 − tanh(cNext)²)
 *     dzf = g · cPrev · f · (1 − f)     dzi = g · c · i · (1 − i)     dzc = g · i · (1 − c²)
 *     dzo = da · tanh(cNext) · o · (1 − o)
 *     dcPrev = g · f
 */
export function gateGradients<T>(
  dzf: usize, dzi: usize, dzc: usize, dzo: usize, dcPrev: usize, da: usize, dc: usize,
  f: usize, i: usize, c: usize, o: usize, cPrev: usize, cNext: usize, length: i32,
): void {
  const bytes = <usize>length * sizeof<T>();
  for (let from: usize = 0; from < bytes; from += CHUNK) {
    const end = from + min(CHUNK, bytes - from);
    tanhAll<T>(cNext + from, TANH_C, <i32>((end - from) / sizeof<T>()));
    const tanhC = TANH_C - from;
    let at = from;
    for (; at + 2 * VECTOR <= end; at += 2 * VECTOR) {
      gradientPair<T>(
        dzf + at, dzi + at, dzc + at, dzo + at, dcPrev + at, da + at, dc + at,
        f + at, i + at, c + at, o + at, cPrev + at, tanhC + at,
      );
    }
    for (; at < end; at += sizeof<T>()) {
      gradientOf<T>(
        dzf + at, dzi + at, dzc + at, dzo + at, dcPrev + at, da + at, dc + at,
        f + at, i + at, c + at, o + at, cPrev + at, tanhC + at,
      );
    }
  }
}

// @ts-ignore: decorator
@inline
function gradientPair<T>(
  dzf: usize, dzi: usize, dzc: usize, dzo: usize, dcPrev: usize, da: usize, dc: usize,
  f: usize, i: usize, c: usize, o: usize, cPrev: usize, tanhC: usize,
): void {
  const one = splat<T>(1);
  const t0 = v128.load(tanhC, 0), t1 = v128.load(tanhC, 16);
  const o0 = v128.load(o, 0), o1 = v128.load(o, 16);
  const da0 = v128.load(da, 0), da1 = v128.load(da, 16);
  const dc0 = v128.load(dc, 0), dc1 = v128.load(dc, 16);
  const i0 = v128.load(i, 0), i1 = v128.load(i, 16);
  const c0 = v128.load(c, 0), c1 = v128.load(c, 16);
  const f0 = v128.load(f, 0), f1 = v128.load(f, 16);
  const p0 = v128.load(cPrev, 0), p1 = v128.load(cPrev, 16);
  const g0 = v128.add<T>(dc0, v128.mul<T>(v128.mul<T>(da0, o0), v128.sub<T>(one, v128.mul<T>(t0, t0))));
  const g1 = v128.add<T>(dc1, v128.mul<T>(v128.mul<T>(da1, o1), v128.sub<T>(one, v128.mul<T>(t1, t1))));
  const dzo0 = v128.mul<T>(v128.mul<T>(v128.mul<T>(da0, t0), o0), v128.sub<T>(one, o0));
  const dzo1 = v128.mul<T>(v128.mul<T>(v128.mul<T>(da1, t1), o1), v128.sub<T>(one, o1));
  const dzi0 = v128.mul<T>(v128.mul<T>(v128.mul<T>(g0, c0), i0), v128.sub<T>(one, i0));
  const dzi1 = v128.mul<T>(v128.mul<T>(v128.mul<T>(g1, c1), i1), v128.sub<T>(one, i1));
  const dzc0 = v128.mul<T>(v128.mul<T>(g0, i0), v128.sub<T>(one, v128.mul<T>(c0, c0)));
  const dzc1 = v128.mul<T>(v128.mul<T>(g1, i1), v128.sub<T>(one, v128.mul<T>(c1, c1)));
  const dzf0 = v128.mul<T>(v128.mul<T>(v128.mul<T>(g0, p0), f0), v128.sub<T>(one, f0));
  const dzf1 = v128.mul<T>(v128.mul<T>(v128.mul<T>(g1, p1), f1), v128.sub<T>(one, f1));
  const dcPrev0 = v128.mul<T>(g0, f0);
  const dcPrev1 = v128.mul<T>(g1, f1);
  v128.store(dzo, dzo0, 0);
  v128.store(dzo, dzo1, 16);
  v128.store(dzi, dzi0, 0);
  v128.store(dzi, dzi1, 16);
  v128.store(dzc, dzc0, 0);
  v128.store(dzc, dzc1, 16);
  v128.store(dzf, dzf0, 0);
  v128.store(dzf, dzf1, 16);
  v128.store(dcPrev, dcPrev0, 0);
  v128.store(dcPrev, dcPrev1, 16);
}

// @ts-ignore: decorator
@inline
function gradientOf<T>(
  dzf: usize, dzi: usize, dzc: usize, dzo: usize, dcPrev: usize, da: usize, dc: usize,
  f: usize, i: usize, c: usize, o: usize, cPrev: usize, tanhC: usize,
): void {
  const one = <T>1;
  const tanh = load<T>(tanhC), forget = load<T>(f), update = load<T>(i), candidate = load<T>(c), output = load<T>(o);
  const dA = load<T>(da), previous = load<T>(cPrev);
  const g = load<T>(dc) + dA * output * (one - tanh * tanh);
  store<T>(dzo, dA * tanh * output * (one - output));
  store<T>(dzi, g * candidate * update * (one - update));
  store<T>(dzc, g * update * (one - candidate * candidate));
  store<T>(dzf, g * previous * forget * (one - forget));
  store<T>(dcPrev, g * forget);
}
