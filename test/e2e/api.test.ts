import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Node, Task, Workload } from '../../src/api/schemas.ts';
import { kubectl, pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { routes } from './api-routes.ts';
import { type Answer, type Call, createCaller, send, signToken, waitForRole } from './callers.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';

let kit: Kit;
let other: Kit;
let ips: Ips;
let tokens: Record<'admin' | 'operator' | 'viewer' | 'nobody' | 'elsewhere', string>;

beforeAll(async () => {
  kit = await createKit('api');
  other = await createKit('api-other');
  ips = await startIps(kit.cluster);
  const { cluster, namespace } = kit;
  const [admin, operator, viewer, nobody, elsewhere] = await Promise.all([
    createCaller(cluster, { namespace, name: 'admin', role: 'ips-admin', everywhere: true }),
    createCaller(cluster, { namespace, name: 'operator', role: 'ips-operator' }),
    createCaller(cluster, { namespace, name: 'viewer', role: 'ips-viewer', everywhere: true }),
    createCaller(cluster, { namespace, name: 'nobody' }),
    createCaller(cluster, { namespace: other.namespace, name: 'elsewhere', role: 'ips-admin' }),
  ]);
  tokens = { admin, operator, viewer, nobody, elsewhere };
  const counts = [
    waitForRole(ips.url, admin, ''),
    waitForRole(ips.url, viewer, ''),
    waitForRole(ips.url, operator, `?namespace=${namespace}`),
    waitForRole(ips.url, elsewhere, `?namespace=${other.namespace}`),
  ];
  await Promise.all(counts);
});

afterAll(async () => {
  await ips?.stop();
  const bindings = ['admin', 'viewer'].map((name) => `${kit.namespace}-${name}`);
  await kubectl(kit.cluster, ['delete', 'clusterrolebinding', '--ignore-not-found', ...bindings]);
  await Promise.all([kit.remove(), other.remove()]);
});

const call = (who: keyof typeof tokens, method: string, path: string, body?: unknown) =>
  send(ips.url, { method, path, token: tokens[who], body });

/** No node has this label: such a task pulls nothing. */
const NOWHERE = { 'no-such': 'label' };
const newTask = (more: object = {}) => ({
  namespace: kit.namespace,
  images: [{ image: 'registry.example/app:1' }],
  nodeSelector: NOWHERE,
  ...more,
});

const OPEN = ['/healthz', '/readyz', '/metrics'];
/** Those that a role without the right to change anything is refused. */
const CHANGES = ['POST /api/v1/tasks', 'POST /api/v1/tasks/:namespace/:name/cancel'];
/** For everybody whom Kubernetes knows: it tells nothing of the cluster. */
const FOR_ALL = ['GET /api/v1/openapi.json', 'HEAD /api/v1/openapi.json'];

function concrete({ method, url }: { method: string; url: string }): Call {
  const path = url.replace(':namespace', kit.namespace).replace(':name', 'absent');
  const list = method !== 'POST' && /\/(tasks|workloads|nodes)$/.test(path);
  return {
    method,
    path: list ? `${path}?namespace=${kit.namespace}` : path,
    ...(method === 'POST' && url === '/api/v1/tasks' ? { body: newTask() } : {}),
  };
}

describe('who may what', () => {
  test('nothing but health and metrics answers without a token, with an expired or a forged one', async () => {
    const account = { namespace: kit.namespace, name: 'admin' };
    const hour = 3600;
    const good = await signToken(kit.cluster, account, { expiresInSeconds: hour });
    const wrong = {
      none: undefined,
      expired: await signToken(kit.cluster, account, { expiresInSeconds: -60 }),
      forged: await signToken(kit.cluster, account, { expiresInSeconds: hour, key: 'another' }),
      unsigned: await signToken(kit.cluster, account, { expiresInSeconds: hour, key: 'none' }),
      nonsense: 'not-a-token',
    };
    // Signed in the same way, and accepted: the others fail for the reason that they are named after.
    expect((await send(ips.url, { method: 'GET', path: '/api/v1/tasks', token: good })).status).toBe(200);
    const all = await routes();
    expect(all.filter(({ url }) => OPEN.includes(url)).length).toBeGreaterThan(OPEN.length);
    const guarded = all.filter(({ url }) => !OPEN.includes(url));
    expect(guarded.length).toBeGreaterThan(40);
    for (const [kind, token] of Object.entries(wrong))
      for (const route of guarded) {
        const answer = await send(ips.url, { ...concrete(route), token });
        expect([kind, route.method, route.url, answer.status]).toEqual([kind, route.method, route.url, 401]);
        expect(answer.headers['www-authenticate']).toMatch(/^Bearer /);
        if (route.method !== 'HEAD') expectProblem(answer, 401);
      }
    for (const path of OPEN) expect((await send(ips.url, { method: 'GET', path })).status).toBe(200);
  });

  test('each operation asks for its right, in its namespace', async () => {
    const status = async (who: keyof typeof tokens, route: { method: string; url: string }) =>
      (await send(ips.url, { ...concrete(route), token: tokens[who] })).status;
    let operations = 0;
    for (const route of (await routes()).filter(({ url }) => !OPEN.includes(url))) {
      const admin = await status('admin', route);
      expect([route, [200, 201, 404, 405].includes(admin)]).toEqual([route, true]);
      if (admin === 405) continue;
      operations += 1;
      const name = `${route.method} ${route.url}`;
      const refused = FOR_ALL.includes(name) ? admin : 403;
      const seen = {
        nobody: await status('nobody', route),
        elsewhere: await status('elsewhere', route),
        viewer: await status('viewer', route),
      };
      const viewer = CHANGES.includes(name) ? 403 : admin;
      expect({ name, ...seen }).toEqual({ name, nobody: refused, elsewhere: refused, viewer });
    }
    expect(operations).toBeGreaterThanOrEqual(12);
  });

  test('a role in one namespace lists that one, and is told so where it asks for all', async () => {
    const mine = await call('operator', 'GET', `/api/v1/tasks?namespace=${kit.namespace}`);
    expect(mine.status).toBe(200);
    const all = expectProblem(await call('operator', 'GET', '/api/v1/tasks'), 403);
    expect(all.detail).toBe(
      `system:serviceaccount:${kit.namespace}:operator may not list prewarmtasks.ips.dev in all namespaces; ask for one with ?namespace=NAME`,
    );
    // Nodes are the whole cluster's: a role in a namespace does not show them.
    const nodes = expectProblem(
      await call('operator', 'GET', `/api/v1/nodes?namespace=${kit.namespace}`),
      403,
    );
    expect(nodes.detail).toMatch(/may not list nodes$/);
  });

  test('a right that was taken away is gone within seconds', async () => {
    const { cluster, namespace } = kit;
    const token = await createCaller(cluster, { namespace, name: 'leaver', role: 'ips-viewer' });
    const status = async () =>
      (await send(ips.url, { method: 'GET', path: `/api/v1/tasks?namespace=${namespace}`, token })).status;
    await waitForRole(ips.url, token, `?namespace=${namespace}`);
    await kit.kubectl(['delete', 'rolebinding', `${namespace}-leaver`]);
    await waitFor('the right to be gone', async () => (await status()) === 403);
    await kit.kubectl(['delete', 'serviceaccount', 'leaver']);
    await waitFor('the token to be gone', async () => (await status()) === 401);
  });

  test("Kubernetes' own view role reads tasks and makes none; its edit role makes them", async () => {
    for (const role of ['view', 'edit'])
      await kit.kubectl(['create', 'rolebinding', role, `--clusterrole=${role}`, `--user=a-${role}er`]);
    const may = (verb: string, who: string) =>
      kit.kubectl(['auth', 'can-i', verb, 'prewarmtasks.ips.dev', '--as', who]).then(
        (text) => text.trim(),
        () => 'no',
      );
    await waitFor('the roles to be aggregated', async () => (await may('list', 'a-viewer')) === 'yes');
    const verbs = ['get', 'list', 'create', 'update', 'patch', 'delete'];
    const of = async (who: string) => Promise.all(verbs.map((verb) => may(verb, who)));
    expect(await of('a-viewer')).toEqual(['yes', 'yes', 'no', 'no', 'no', 'no']);
    expect(await of('a-editer')).toEqual(['yes', 'yes', 'yes', 'yes', 'yes', 'yes']);
  });
});

describe('tasks, workloads and nodes', () => {
  let image: string;

  test('a task is made, warms its nodes, and can be read at once and at every stage', async () => {
    image = await pushTestImage(kit.cluster, `${unique('api')}:1`, 1_000_000);
    const made = await call('operator', 'POST', '/api/v1/tasks', {
      namespace: kit.namespace,
      images: [{ image }],
      nodeSelector: { pool: 'web' },
      priority: 7,
      concurrentPulls: 1,
      retry: { limit: 1, strategy: 'linear' },
      timeoutSeconds: 600,
    });
    expect([made.status, made.body]).toMatchObject([
      201,
      {
        namespace: kit.namespace,
        images: [{ image, pullPolicy: 'IfNotPresent' }],
        ...{
          nodeSelector: { pool: 'web' },
          priority: 7,
          concurrentPulls: 1,
          timeoutSeconds: 600,
          owners: [],
        },
        retry: { limit: 1, strategy: 'linear', delaySeconds: 10 },
        status: { phase: 'Pending' },
      },
    ]);
    const location = String(made.headers['location']);
    const { name } = made.body as Task;
    expect(location).toBe(`/api/v1/tasks/${kit.namespace}/${name}`);
    expect((await call('viewer', 'GET', location)).body).toMatchObject({ name, cancelled: false });
    const warm = await waitFor(
      'the task to be warm',
      async () => {
        const { status } = (await call('viewer', 'GET', location)).body as Task;
        return status.phase === 'Warm' && status;
      },
      { timeoutMs: 60_000 },
    );
    expect(warm).toMatchObject({
      nodes: { eligible: 2, warm: 2, warming: 0, failed: 0 },
      round: 1,
      batches: [],
    });
    expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
    const nodes = (await call('viewer', 'GET', `/api/v1/nodes?namespace=${kit.namespace}`)).body as {
      items: Node[];
    };
    expect(nodes.items.map(({ name: node, ready, images }) => [node, ready, images])).toEqual([
      ['node-a', true, [image]],
      ['node-b', true, [image]],
      ['node-c', true, []],
    ]);
  });

  test('a task goes where its node affinity says, and shows it', async () => {
    const aside = await pushTestImage(kit.cluster, `${unique('affinity')}:1`, 1_000_000);
    const zone = { key: 'topology.kubernetes.io/zone', operator: 'In', values: ['zone-b'] };
    const nodeAffinity = { nodeSelectorTerms: [{ matchExpressions: [zone] }] };
    const where = { images: [{ image: aside }], nodeSelector: { pool: 'web' }, nodeAffinity };
    const made = await call('operator', 'POST', '/api/v1/tasks', newTask(where));
    expect([made.status, made.body]).toMatchObject([201, { nodeSelector: { pool: 'web' }, nodeAffinity }]);
    await waitFor('the task to be warm', async () => {
      const { status } = (await call('viewer', 'GET', String(made.headers['location']))).body as Task;
      return status.phase === 'Warm' && status.nodes.eligible === 1;
    });
    expect(await kit.nodesWith(aside)).toEqual(['node-b']);
  });

  test('workloads are told with their warmth', async () => {
    const wanted = { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES };
    await kit.apply(deployment('web', wanted));
    await kit.status('deployment/web', /^Warm 2\/2/);
    const { items } = (
      await call('operator', 'GET', `/api/v1/workloads?namespace=${kit.namespace}&status=Warm`)
    ).body as { items: Workload[] };
    const [task] = (await kit.tasks()).filter(({ metadata }) => metadata.ownerReferences?.length);
    expect(items).toMatchObject([
      {
        ...{
          namespace: kit.namespace,
          kind: 'Deployment',
          name: 'web',
          task: task?.metadata.name,
          images: [image],
        },
        status: { phase: 'Warm', nodes: { eligible: 2, warm: 2 }, lastWarmedAt: expect.any(String) },
      },
    ]);
  });

  test('what fails is told with node and reason, and a cancelled task ends its Jobs', async () => {
    const missing = `${kit.cluster.registry.host}/${unique('missing')}:1`;
    const made = await call('operator', 'POST', '/api/v1/tasks', {
      ...newTask({ images: [{ image: missing }], nodeSelector: { pool: 'web' } }),
    });
    const path = String(made.headers['location']);
    const failed = await waitFor('both nodes to have failed', async () => {
      const task = (await call('viewer', 'GET', path)).body as Task;
      return task.status.failureCount === 2 && task;
    });
    expect(
      failed.status.failures.map(({ node, image: told, reason }) => [node, told, reason]).sort(),
    ).toEqual([
      ['node-a', missing, 'not found'],
      ['node-b', missing, 'not found'],
    ]);
    const slow = await pushTestImage(kit.cluster, `${unique('slow')}:1`, 300_000_000);
    const { body } = await call(
      'operator',
      'POST',
      '/api/v1/tasks',
      newTask({ images: [{ image: slow }], nodeSelector: { pool: 'web' } }),
    );
    const running = `/api/v1/tasks/${kit.namespace}/${(body as Task).name}`;
    await waitFor(
      'its Job to run',
      async () => ((await call('viewer', 'GET', running)).body as Task).status.batches.length > 0,
    );
    const cancelled = await call('operator', 'POST', `${running}/cancel`);
    expect([cancelled.status, cancelled.body]).toMatchObject([200, { cancelled: true }]);
    await waitFor(
      'it to be Cancelled',
      async () => ((await call('viewer', 'GET', running)).body as Task).status.phase === 'Cancelled',
    );
    await waitFor('its Job to be gone', async () => (await kit.list('jobs')).length === 0);
    expect((await call('operator', 'POST', `${running}/cancel`)).status).toBe(200);
  });

  test('lists are filtered, and come in pages that join to the whole', async () => {
    for (const name of ['page-1', 'page-2', 'page-3'])
      expect(
        (
          await call(
            'operator',
            'POST',
            '/api/v1/tasks',
            newTask({ name, images: [{ image: 'nginx:1.27' }] }),
          )
        ).status,
      ).toBe(201);
    const list = async (query: string) =>
      (await call('admin', 'GET', `/api/v1/tasks?${query}`)).body as { items: Task[]; continue?: string };
    const names = ({ items }: { items: Task[] }) => items.map(({ name }) => name);
    const filter = `namespace=${kit.namespace}&image=docker.io/library/nginx:1.27`;
    expect(names(await list(filter))).toEqual(['page-1', 'page-2', 'page-3']);
    expect(names(await list(`image=nginx:1.2&namespace=${kit.namespace}`))).toEqual([]);
    expect(names(await list(`${filter}&status=Warm`))).toEqual([]);
    expect(names(await list(`${filter}&status=Pending`))).toEqual(['page-1', 'page-2', 'page-3']);
    // Those of the tests before are not all pending: what comes is.
    for (const phase of ['Pending', 'Warm']) {
      const { items } = await list(`namespace=${kit.namespace}&status=${phase}`);
      expect(new Set(items.map(({ status }) => status.phase))).toEqual(new Set([phase]));
    }
    const first = await list(`${filter}&limit=2`);
    const second = await list(`${filter}&limit=2&continue=${first.continue}`);
    expect([names(first), names(second), second.continue]).toEqual([
      ['page-1', 'page-2'],
      ['page-3'],
      undefined,
    ]);
    expect(names(await list('limit=100')).length).toBeGreaterThan(3);
  });

  test('reads come from memory: the API server is asked who calls, and seldom', async () => {
    const requests = async (resource: string) => {
      const text = await kubectl(kit.cluster, ['get', '--raw', '/metrics']);
      const lines = text
        .split('\n')
        .filter(
          (line) =>
            line.startsWith('apiserver_request_total{') &&
            line.includes(`resource="${resource}"`) &&
            !line.includes('verb="WATCH"'),
        );
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
    };
    const reviewsBefore = await requests('tokenreviews');
    const paths = ['tasks', 'workloads', `tasks/${kit.namespace}/page-1`];
    const tasksBefore = await requests('prewarmtasks');
    for (let at = 0; at < 60; at += 1)
      expect((await call('admin', 'GET', `/api/v1/${paths[at % 3]}`)).status).toBe(200);
    expect((await requests('prewarmtasks')) - tasksBefore).toBeLessThan(30);
    expect((await requests('tokenreviews')) - reviewsBefore).toBeLessThan(30);
  });
});

test('what is wrong is told by field, and what cannot be by its status', async () => {
  const create = (body: unknown) => call('admin', 'POST', '/api/v1/tasks', body);
  const pointers = async (body: unknown) =>
    expectProblem(await create(body), 422).errors?.map(({ pointer }) => pointer);
  expect(await pointers({})).toEqual(['#/namespace', '#/images']);
  expect(
    await pointers(newTask({ images: [{ image: 'app:1' }, { image: 'No Name' }], priority: 3 })),
  ).toEqual(['#/images/1/image']);
  expect(await pointers(newTask({ nodeSelector: { 'a b': 'c' } }))).toEqual(['#/nodeSelector/a b']);
  expect(await pointers(newTask({ namespace: 'no-such-namespace' }))).toEqual(['#/namespace']);
  expect(await pointers(newTask({ name: 'ips-0123456789ab' }))).toEqual(['#/name']);
  expect((await create(newTask({ name: 'twice' }))).status).toBe(201);
  expectProblem(await create(newTask({ name: 'twice' })), 409);
  expectProblem(await call('admin', 'GET', `/api/v1/tasks/${kit.namespace}/absent`), 404);
  expectProblem(await call('admin', 'POST', `/api/v1/tasks/${kit.namespace}/absent/cancel`), 404);
  expectProblem(await call('admin', 'GET', '/api/v1/absent'), 404);
  const unknown = expectProblem(await call('admin', 'GET', '/api/v1/tasks?limit=0&colour=red'), 400);
  expect(unknown.errors?.map(({ parameter }) => parameter).sort()).toEqual(['colour', 'limit']);
});

test('the document is OpenAPI 3.1, and no token stands in the log', async () => {
  const { body } = await call('nobody', 'GET', '/api/v1/openapi.json');
  expect(body).toMatchObject({ openapi: '3.1.0', paths: { '/api/v1/tasks': { get: {}, post: {} } } });
  const lines = await ips.logLines();
  const log = JSON.stringify(lines);
  expect(log).toContain('task created through the API');
  expect(log).toContain(`system:serviceaccount:${kit.namespace}:operator`);
  expect(log).not.toMatch(/eyJ[A-Za-z0-9_-]{20}|Bearer/);
  expect(lines.filter(({ msg }) => msg === 'request failed')).toEqual([]);
});

type Problem = { status: number; detail: string; errors?: { pointer?: string; parameter?: string }[] };

function expectProblem({ status, headers, body }: Answer, wanted: number): Problem {
  expect([status, headers['content-type'], body]).toMatchObject([
    wanted,
    'application/problem+json',
    { type: 'about:blank', status: wanted, title: expect.any(String), detail: expect.stringMatching(/./) },
  ]);
  return body as Problem;
}
