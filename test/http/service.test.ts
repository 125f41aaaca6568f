import supertest from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operations } from '../../src/operations/operations.js';
import { builds } from '../kernels/builds.js';
import { type Started, start } from './start.js';

let service: Started;
beforeAll(async () => {
  service = await start();
});
afterAll(() => service.stop());

describe('the service', () => {
  it('tells a person at / what it is, where to go, and which kernels it computes with', async () => {
    const { body } = await supertest(service.url).get('/').expect(200);
    expect(body).toMatchObject({ name: 'Unroll', docs: '/docs', openapi: '/openapi.json', problems: '/problems' });
    expect(builds.map(({ tier }) => tier)).toContain(body.kernels);
    expect(body.operations).toEqual(operations.map(({ path }) => `POST ${path}`));
    for (const path of [body.docs, body.openapi, body.problems, ...body.health]) {
      await supertest(service.url).get(path).redirects(1).expect(200);
    }
  });

  it.each(['scalar', 'simd'] as const)('computes with the kernels that are asked for: %s', async (kernels) => {
    const pinned = await start({ kernels, workers: 1 });
    expect((await supertest(pinned.url).get('/')).body.kernels).toBe(kernels);
    await pinned.stop();
  });

  it('is alive but not ready while no worker is there', async () => {
    const { isReady } = service.pool;
    service.pool.isReady = () => false;
    await supertest(service.url).get('/health/live').expect(200, { status: 'live' });
    const { status, headers, body } = await supertest(service.url).get('/health/ready');
    expect([status, body.code, headers['retry-after']]).toEqual([503, 'overloaded', '1']);
    service.pool.isReady = isReady;
    await supertest(service.url).get('/health/ready').expect(200, { status: 'ready' });
  });

  it.each([
    ['a-well.formed:id/1+2=3', true],
    ['x'.repeat(128), true],
    ['x'.repeat(129), false],
    ['two words', false],
    ['', false],
  ])('x-request-id %j is taken over: %s', async (id, taken) => {
    const { headers } = await supertest(service.url).get('/').set('x-request-id', id);
    expect(headers['x-request-id'] === id).toBe(taken);
    expect(headers['x-request-id']).toMatch(/^\S{1,128}$/);
  });

  it('gives the same bytes for the same request, alone and under load', async () => {
    const example = (await supertest(service.url).get('/openapi.json')).body.paths['/v1/lstm/backward'].post;
    const body = JSON.stringify(example.requestBody.content['application/json'].examples['from inputs'].value);
    const ask = async () => {
      const headers = { 'content-type': 'application/json' };
      return (await fetch(`${service.url}/v1/lstm/backward`, { method: 'POST', headers, body })).text();
    };
    const alone = await ask();
    const answers = await Promise.all(Array.from({ length: 60 }, ask));
    expect(new Set(answers)).toEqual(new Set([alone]));
  });
});
