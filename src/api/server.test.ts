import { Registry } from 'prom-client';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createImageSizes } from '../domain/image-sizes.ts';
import type { KubernetesNode } from '../domain/kubernetes.ts';
import { presenceBy } from '../domain/node-view.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { KubeError } from '../kube/errors.ts';
import type { Access, Demand } from './access.ts';
import { unavailable } from './problem.ts';
import { createApiServer } from './server.ts';
import type { State } from './state.ts';

const TASK: PrewarmTask = {
  metadata: { namespace: 'shop', name: 'a', uid: 'u1', creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: { images: [{ image: 'docker.io/library/app:1', pullPolicy: 'IfNotPresent' }] },
};
const NODE: KubernetesNode = {
  metadata: { name: 'n1' },
  status: { images: [{ names: ['docker.io/library/app:1'] }] },
};
const BODY = { namespace: 'shop', images: [{ image: 'app:1' }] };

type Given = { access?: Partial<Access>; state?: Partial<State> };

async function start({ access, state }: Given = {}) {
  const demands: Demand[] = [];
  const written: PrewarmTask[] = [];
  const logged: object[] = [];
  const server = await createApiServer({
    registry: new Registry(),
    readiness: () => ({ ready: true, checks: {} }),
    version: '1.2.3',
    log: {
      info: (data) => logged.push(data),
      error: (data, message) => logged.push({ ...data, message }),
    },
    access: {
      authenticate: async (token) => (token === 'good' ? { username: 'jane' } : undefined),
      async allows(_caller, demand) {
        demands.push(demand);
        return true;
      },
      ...access,
    },
    state: {
      hasSynced: () => true,
      tasks: { get: (key) => (key === 'shop/a' ? TASK : undefined), values: () => [TASK] },
      nodes: { values: () => [NODE] },
      presence: presenceBy(createImageSizes()),
      async createTask(task) {
        written.push(task);
        return { ...task, metadata: { ...task.metadata, name: 'task-x' } };
      },
      cancelTask: async () => TASK,
      ...state,
    },
  });
  onTestFinished(() => server.close());
  const call = async (method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object | string) => {
    const headers = {
      authorization: 'Bearer good',
      ...(payload ? { 'content-type': 'application/json' } : {}),
    };
    const answer = await server.inject({ method, url, headers, ...(payload ? { payload } : {}) });
    return {
      status: answer.statusCode,
      headers: answer.headers,
      body: answer.json() as Record<string, unknown>,
    };
  };
  return { server, call, demands, written, logged };
}

describe('each operation asks Kubernetes for the right that it needs', () => {
  const tasks = (verb: string, more: object = {}) => ({
    verb,
    group: 'ips.dev',
    resource: 'prewarmtasks',
    ...more,
  });
  const nodes = { verb: 'list', group: '', resource: 'nodes' };
  const one = { namespace: 'shop', name: 'a' };
  it.each<{ method: 'GET' | 'POST'; url: string; payload?: object; wanted: object[] }>([
    { method: 'POST', url: '/tasks', payload: BODY, wanted: [tasks('create', { namespace: 'shop' })] },
    { method: 'GET', url: '/tasks', wanted: [tasks('list')] },
    { method: 'GET', url: '/tasks?namespace=shop', wanted: [tasks('list', { namespace: 'shop' })] },
    { method: 'GET', url: '/tasks/shop/a', wanted: [tasks('get', one)] },
    { method: 'POST', url: '/tasks/shop/a/cancel', wanted: [tasks('update', one)] },
    { method: 'GET', url: '/workloads?namespace=shop', wanted: [tasks('list', { namespace: 'shop' })] },
    { method: 'GET', url: '/nodes', wanted: [nodes, tasks('list')] },
    { method: 'GET', url: '/nodes?namespace=shop', wanted: [nodes, tasks('list', { namespace: 'shop' })] },
    { method: 'GET', url: '/openapi.json', wanted: [] },
  ])('$method $url', async ({ method, url, payload, wanted }) => {
    const { call, demands } = await start();
    expect((await call(method, `/api/v1${url}`, payload)).status).toBeLessThan(300);
    expect(demands).toEqual(wanted);
  });
});

describe('what is not a success is a problem document', () => {
  const full = { ...BODY, name: 'x' };
  const kube = (status: number, text: string) => async () => {
    throw new KubeError(status, 'X', text);
  };
  type Case = {
    what: string;
    given?: Given;
    method?: 'GET' | 'POST' | 'DELETE';
    url: string;
    payload?: object | string;
    status: number;
    problem?: object;
    headers?: object;
  };
  it.each<Case>([
    { what: 'no such path of the API', url: '/api/v1/x', status: 404 },
    { what: 'no such path at all', url: '/x', status: 404 },
    {
      what: 'another method',
      ...{ method: 'DELETE', url: '/api/v1/tasks', status: 405, headers: { allow: 'GET, HEAD, POST' } },
    },
    { what: 'not JSON', ...{ method: 'POST', url: '/api/v1/tasks', payload: '{', status: 400 } },
    { what: 'a body of null', ...{ method: 'POST', url: '/api/v1/tasks', payload: 'null', status: 422 } },
    {
      what: 'a body over 256 KiB',
      ...{ method: 'POST', url: '/api/v1/tasks', payload: `"${'x'.repeat(300_000)}"`, status: 413 },
    },
    {
      what: 'a prototype in the body',
      ...{ method: 'POST', url: '/api/v1/tasks', payload: '{"__proto__":{"a":1}}', status: 400 },
    },
    {
      what: 'fields of the wrong type, unknown, missing',
      ...{
        method: 'POST',
        url: '/api/v1/tasks',
        payload: { images: [{ image: 1 }], colour: 'red' },
        status: 422,
      },
      problem: {
        code: 'IPS_API_INVALID',
        errors: [
          { pointer: '#/namespace', detail: 'is required' },
          { pointer: '#/colour', detail: 'is not a known field' },
          { pointer: '#/images/0/image', detail: 'must be string' },
        ],
      },
    },
    {
      what: 'a number that is out of bounds, and one that is text',
      ...{
        method: 'POST',
        url: '/api/v1/tasks',
        payload: { ...full, priority: 11, timeoutSeconds: '5' },
        status: 422,
      },
      problem: { errors: [{ pointer: '#/priority' }, { pointer: '#/timeoutSeconds' }] },
    },
    {
      what: 'a parameter that is no number, unknown, twice',
      ...{ url: '/api/v1/tasks?limit=true&x=1&status=Hot', status: 400 },
      problem: {
        errors: [
          { parameter: 'x', detail: 'is not a known field' },
          {
            parameter: 'status',
            detail: 'must be one of Pending, Warming, Warm, PartiallyFailed, Failed, Cancelled',
          },
          { parameter: 'limit' },
        ],
      },
    },
    { what: 'no namespace at all in the filter', url: '/api/v1/tasks?namespace=', status: 400 },
    { what: 'a token of pages that was made up', url: '/api/v1/tasks?continue=%F0%9F', status: 400 },
    { what: 'an image that is none', url: '/api/v1/tasks?image=No%20Name', status: 400 },
    { what: 'no such task', url: '/api/v1/tasks/shop/b', status: 404 },
    {
      what: 'no right to list all namespaces',
      ...{ url: '/api/v1/tasks', given: { access: { allows: async () => false } }, status: 403 },
      problem: {
        detail: 'jane may not list prewarmtasks.ips.dev in all namespaces; ask for one with ?namespace=NAME',
      },
    },
    {
      what: 'the API server away while it is asked for the caller',
      ...{ url: '/api/v1/tasks', status: 503, headers: { 'retry-after': '2' } },
      given: { access: { authenticate: async () => Promise.reject(unavailable('the API server is away')) } },
    },
    {
      what: 'the informers not listed yet',
      ...{ url: '/api/v1/tasks', given: { state: { hasSynced: () => false } }, status: 503 },
    },
    {
      what: 'a namespace that is not there',
      ...{ method: 'POST', url: '/api/v1/tasks', payload: full, status: 422 },
      given: { state: { createTask: kube(404, 'no') } },
      problem: { errors: [{ pointer: '#/namespace', detail: 'there is no such namespace' }] },
    },
    {
      what: 'a name that is taken',
      ...{ method: 'POST', url: '/api/v1/tasks', payload: full, status: 409 },
      given: { state: { createTask: kube(409, 'exists') } },
    },
    {
      what: 'a policy of the cluster against it',
      ...{ method: 'POST', url: '/api/v1/tasks', payload: full, status: 403 },
      given: { state: { createTask: kube(403, 'quota') } },
      problem: { detail: 'Kubernetes did not take it: quota' },
    },
    {
      what: 'the API server away while a task is written',
      ...{ method: 'POST', url: '/api/v1/tasks/shop/a/cancel', status: 503 },
      given: { state: { cancelTask: kube(0, 'secret.internal refused the connection') } },
      problem: { detail: 'the API server of the cluster does not answer; try again' },
    },
    {
      what: 'a fault of ours, which is logged and not told',
      ...{ url: '/api/v1/tasks', status: 500 },
      given: {
        state: {
          tasks: {
            get: () => undefined,
            values() {
              throw new Error('inner secret');
            },
          },
        },
      },
      problem: { detail: 'a fault in IPS; its log tells more' },
    },
  ])('$what', async ({ given, method = 'GET', url, payload, status, problem = {}, headers = {} }) => {
    const { call, logged } = await start(given);
    const answer = await call(method, url, payload);
    expect(answer).toMatchObject({
      status,
      headers: { 'content-type': 'application/problem+json', ...headers },
      body: { type: 'about:blank', status, code: expect.stringMatching(/^IPS_API_/), ...problem },
    });
    expect(logged.length).toBe(status >= 500 ? 1 : 0);
  });
});

it('another media type than JSON is refused', async () => {
  const { server } = await start();
  for (const type of ['text/plain', 'application/yaml', 'application/x-www-form-urlencoded']) {
    const headers = { authorization: 'Bearer good', 'content-type': type };
    const answer = await server.inject({ method: 'POST', url: '/api/v1/tasks', headers, payload: '{}' });
    expect([type, answer.statusCode, answer.json()]).toMatchObject([
      type,
      415,
      { detail: 'send application/json' },
    ]);
  }
});

it.each([
  { what: 'no header', header: undefined },
  { what: 'another scheme', header: 'Basic Z29vZA==' },
  { what: 'no token', header: 'Bearer ' },
  { what: 'a token with white space', header: 'Bearer good good' },
  { what: 'a token that Kubernetes does not know', header: 'Bearer bad' },
  { what: 'a token longer than any', header: `Bearer ${'a'.repeat(20_000)}` },
])('401 with a challenge: $what', async ({ header }) => {
  const { server } = await start();
  const headers = header === undefined ? {} : { authorization: header };
  for (const url of ['/api/v1/tasks', '/api/v1/openapi.json', '/api/v1/x']) {
    const answer = await server.inject({ url, headers });
    expect(answer.statusCode).toBe(401);
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm="ips"/);
  }
});

it('who changed what is logged, and the task that is written has no owner', async () => {
  const { call, written, logged } = await start();
  const made = await call('POST', '/api/v1/tasks', { ...BODY, nodeSelector: { pool: 'web' }, priority: 2 });
  expect(made).toMatchObject({ status: 201, headers: { location: '/api/v1/tasks/shop/task-x' } });
  expect(written).toEqual([
    {
      ...{ apiVersion: 'ips.dev/v1alpha1', kind: 'PrewarmTask' },
      metadata: { namespace: 'shop', generateName: 'task-' },
      spec: {
        images: [{ image: 'docker.io/library/app:1', pullPolicy: 'IfNotPresent' }],
        nodeRequirements: { nodeSelector: { pool: 'web' } },
        priority: 2,
      },
    },
  ]);
  await call('POST', '/api/v1/tasks/shop/a/cancel');
  expect(logged).toEqual([
    { user: 'jane', namespace: 'shop', task: 'task-x' },
    { user: 'jane', namespace: 'shop', task: 'a' },
  ]);
});

it('the document has every operation, with the problems it may answer, and no shape twice', async () => {
  const { call } = await start();
  const { body } = await call('GET', '/api/v1/openapi.json');
  expect(body).toMatchObject({ openapi: '3.1.0', info: { version: '1.2.3' }, security: [{ token: [] }] });
  const paths = body['paths'] as Record<string, Record<string, { responses: Record<string, unknown> }>>;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path.replace('/api/v1', '')}`),
  );
  expect(operations.sort()).toEqual([
    'get /nodes',
    'get /tasks',
    'get /tasks/{namespace}/{name}',
    'get /workloads',
    'post /tasks',
    'post /tasks/{namespace}/{name}/cancel',
  ]);
  for (const { responses } of Object.values(paths).flatMap((methods) => Object.values(methods)))
    expect(Object.keys(responses)).toEqual([expect.stringMatching(/^20[01]$/), '4XX', '5XX']);
  expect(JSON.stringify(body)).not.toMatch(/"\$ref":"(?!#\/components\/schemas\/)/);
});
