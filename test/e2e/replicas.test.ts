import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { startKwok } from '../cluster/components.ts';
import { addFakeNodes } from '../cluster/fake-nodes.ts';
import { type RedisServer, startRedisServers } from '../cluster/redis.ts';
import { waitFor } from '../cluster/run.ts';
import { type AuditEntry, auditFromNow } from './audit.ts';
import { createKit, deployment, type Kit, PREWARM, unique } from './kit.ts';
import { type Replicas, startReplicas } from './replicas.ts';
import { type Witness, witness } from './witness.ts';

/** Three replicas that share their work over three Redis servers, each of which is a process of its own. */

const COUNT = 12;
const POOL = unique('replicas');
/** The Jobs of fake nodes end when kwok says so: late enough that something is always in the middle. */
const MOST_POD_MS = 1_500;

let kit: Kit;
let redis: RedisServer[];
let replicas: Replicas;
let seen: Witness;
let stopKwok: () => Promise<void>;

beforeAll(async () => {
  kit = await createKit('replicas');
  stopKwok = await startKwok(kit.cluster, { mostPodMs: MOST_POD_MS });
  await addFakeNodes(kit.cluster, POOL, COUNT);
  redis = await startRedisServers(3);
  seen = await witness(kit);
  replicas = await startReplicas(kit.cluster, {
    count: 3,
    env: {
      COORDINATION: 'redis',
      REDIS_ADDRESSES: redis.map(({ address }) => address).join(','),
      ...{ MAX_ACTIVE_TASKS: '10', MAX_ACTIVE_TASKS_PER_NAMESPACE: '10' },
    },
  });
});

afterAll(async () => {
  seen?.stop();
  await replicas?.stop();
  for (const server of redis ?? []) await server.close();
  await kit?.kubectl(['delete', 'nodes', '--selector', `pool=${POOL}`, '--wait=false']);
  await kit?.remove();
  await stopKwok?.();
});

type FleetOptions = { nodes?: string[]; annotations?: Record<string, string> };

/** Opted-in Deployments, each of an image of its own, all in one apply. */
async function applyMany(name: string, count: number, options: FleetOptions = {}): Promise<void> {
  const names = options.nodes ?? Array.from({ length: COUNT }, (_, index) => `${POOL}-${index}`);
  const match = [{ key: 'kubernetes.io/hostname', operator: 'In', values: names }];
  const required = { nodeSelectorTerms: [{ matchExpressions: match }] };
  const spec = { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } } };
  const annotations = { ...PREWARM, ...options.annotations };
  const items = Array.from({ length: count }, (_, index) =>
    deployment(`${name}-${index}`, {
      ...{ annotations, replicas: 0, spec },
      images: [`registry.invalid/${unique(name)}:${index}`],
    }),
  );
  await kit.apply({ apiVersion: 'v1', kind: 'List', items });
}

async function tasksOf(name: string): Promise<PrewarmTask[]> {
  return (await kit.tasks()).filter(({ metadata }) => {
    const [owner] = metadata.ownerReferences ?? [];
    return owner?.name.startsWith(`${name}-`);
  });
}

async function allWarm(name: string, count: number, timeoutMs = 120_000): Promise<PrewarmTask[]> {
  return waitFor(
    `${count} tasks of ${name} to be warm`,
    async () => {
      const tasks = await tasksOf(name);
      const warm = tasks.filter(({ status }) => status?.phase === 'Warm');
      if (warm.length === count) return tasks;
      throw new Error(`${warm.length} of ${tasks.length} are`);
    },
    { timeoutMs, everyMs: 500 },
  );
}

/** The workloads are told by whoever has their task. */
async function allTold(name: string, status: string): Promise<void> {
  await waitFor(`${name} to be told ${status}`, async () => {
    const all = (
      await kit.list<{ metadata: { name: string; annotations?: Record<string, string> } }>('deployments')
    )
      .filter(({ metadata }) => metadata.name.startsWith(`${name}-`))
      .map(({ metadata }) => metadata.annotations?.['ips/status']);
    return all.length > 0 && all.every((each) => each === status);
  });
}

function is(verb: string, resource: string) {
  return ({ verb: asked, objectRef }: AuditEntry) => asked === verb && objectRef?.resource === resource;
}

test('100 tasks are shared by three replicas without one conflict, and nothing is planned or made twice', async () => {
  const audit = await auditFromNow(kit.cluster);
  const before = seen.jobs();
  await applyMany('hundred', 100, { nodes: [`${POOL}-0`, `${POOL}-1`] });
  const tasks = await allWarm('hundred', 100);
  await allTold('hundred', 'Warm 2/2 nodes');

  const entries = await audit();
  const conflicts = entries.filter(({ responseStatus }) => responseStatus?.code === 409);
  expect(conflicts.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([]);
  expect(tasks.map(({ status }) => [status?.round, status?.batch])).toEqual(tasks.map(() => [1, 1]));
  expect(seen.jobs() - before).toBe(100);
  expect(entries.filter(is('create', 'jobs'))).toHaveLength(100);
  expect(entries.filter(is('create', 'prewarmtasks'))).toHaveLength(100);
  const made = await Promise.all(
    replicas.all.map(({ ips }) => ips.metric('ips_job_creation_total', 'result="created"')),
  );
  console.error(`• Jobs made by each replica: ${made.join(', ')}; ${entries.length} requests`);
  expect(Math.min(...made)).toBeGreaterThan(0);
  expect(seen.overlaps()).toEqual([]);
});
