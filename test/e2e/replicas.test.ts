import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { startKwok } from '../cluster/components.ts';
import { addFakeNodes } from '../cluster/fake-nodes.ts';
import { startRegistryFronts } from '../cluster/fronts.ts';
import { type RedisServer, startRedisServers } from '../cluster/redis.ts';
import { waitFor } from '../cluster/run.ts';
import { type AuditEntry, auditFromNow } from './audit.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';
import { type Replica, type Replicas, startReplicas } from './replicas.ts';
import { beginReview, quickestReviews } from './reviews.ts';
import { type AtOnce, type Witness, witness } from './witness.ts';

/** Three replicas that share their work over three Redis servers, each of which is a process of its own. */

const COUNT = 8;
const POOL = unique('replicas');
/** Fake nodes pull for as long as kwok says: so that something is always in the middle. */
const MOST_POD_MS = 1_500;
const LIMITS = { tasks: 10, pulls: 10 };

// A busy machine, and a Job controller that asks the API server 20 times a second.
vi.setConfig({ testTimeout: 300_000 });

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
      // What is in flight at the end waits for the test, however slow the machine.
      DRAIN_SECONDS: '4',
      MAX_ACTIVE_TASKS: String(LIMITS.tasks),
      MAX_CONCURRENT_PULLS: String(LIMITS.pulls),
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

async function allWarm(name: string, count: number): Promise<PrewarmTask[]> {
  return waitFor(
    `${count} tasks of ${name} to be warm`,
    async () => {
      const tasks = await tasksOf(name);
      const warm = tasks.filter(({ status }) => status?.phase === 'Warm');
      if (warm.length === count) return tasks;
      throw new Error(`${warm.length} of ${tasks.length} are`);
    },
    { timeoutMs: 200_000, everyMs: 500 },
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
  const most = seen.mostFrom();
  await applyMany('hundred', 100, { nodes: [`${POOL}-0`] });
  const tasks = await allWarm('hundred', 100);
  await allTold('hundred', 'Warm 1/1 nodes');

  const entries = await audit();
  const conflicts = entries.filter(({ responseStatus }) => responseStatus?.code === 409);
  const told = conflicts.map(({ verb, requestURI }) => `${verb} ${requestURI}`);
  expect(told, `Redis was away: ${JSON.stringify(await timesAway())}`).toEqual([]);
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
  await isWithinLimits(most());
});

test('three replicas together let no more warmers pull at once than there may be', async () => {
  const most = seen.mostFrom();
  // They want four times as many as there may be, and all there are at the end of each batch.
  await applyMany('crowd', 6);
  await allWarm('crowd', 6);
  await isWithinLimits(most());
});

/** As the API server told it. Without the server that counts, which a busy machine may hold up, the limits are not promised. */
async function isWithinLimits(most: AtOnce): Promise<void> {
  const away = (await timesAway()).filter(({ part }) => part === redis[0]?.address);
  console.error(`• at once: ${most.tasks} tasks, ${most.pulls} pulls; ${away.length} times without Redis`);
  if (away.length > 0) return;
  expect(most.pulls).toBeLessThanOrEqual(LIMITS.pulls);
  expect(most.tasks).toBeLessThanOrEqual(LIMITS.tasks);
}

async function timesAway() {
  const lines = (await Promise.all(replicas.all.map(({ ips }) => ips.logLines()))).flat();
  return lines.filter(({ part, problem }) => part !== undefined && problem !== undefined);
}

/** What a replica says of the Redis servers; it stays ready, whatever that is. */
async function coordination({ ips }: Replica): Promise<string> {
  const answer = await fetch(`${ips.url}/readyz`);
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { checks: Record<string, string> }).checks['coordination'] ?? '';
}

async function partsUp({ ips }: Replica): Promise<number[]> {
  return Promise.all(redis.map(({ address }) => ips.metric('ips_coordination_up', `part="${address}"`)));
}

test('with Redis away and back, and emptied, all ends warm and nothing is done twice; admission does not notice', async () => {
  const usual = await quickestReviews(replicas.all, 200);
  await applyMany('away', 6, { annotations: { 'ips/concurrent-pulls': '2' } });
  await waitFor('the first Jobs', async () => (await tasksOf('away')).some(({ status }) => status?.batches));
  await Promise.all(redis.map((server) => server.kill()));
  for (const replica of replicas.all) {
    await waitFor('the replica to say that Redis is away', async () =>
      /Redis/.test(await coordination(replica)),
    );
    await expect.poll(() => partsUp(replica), { timeout: 60_000 }).toEqual([0, 0, 0]);
  }
  // The machine may be busier than before; what Redis would cost, it would cost each time.
  await waitFor('admission to be as quick as before', async () => {
    const away = await quickestReviews(replicas.all, 200);
    console.error(`• quickest admission, ms: ${rounded(usual)} with Redis, ${rounded(away)} without`);
    return Math.max(...away) < Math.max(...usual) + 1;
  });
  await applyMany('without', 6);
  await allWarm('without', 6);
  await allTold('without', 'Warm 8/8 nodes');

  await Promise.all(redis.map((server) => server.start()));
  for (const replica of replicas.all) {
    await waitFor('the replica to use Redis again', async () => (await coordination(replica)) === 'ok');
    await expect.poll(() => partsUp(replica), { timeout: 60_000 }).toEqual([1, 1, 1]);
  }
  await applyMany('back', 6, { annotations: { 'ips/concurrent-pulls': '2' } });
  await waitFor('the next Jobs', async () => (await tasksOf('back')).some(({ status }) => status?.batches));
  for (const server of redis) await server.flush();
  await allWarm('away', 6);
  const tasks = await allWarm('back', 6);
  await allTold('back', 'Warm 8/8 nodes');
  expect(tasks.map(({ status }) => status?.round)).toEqual(tasks.map(() => 1));
  expect(seen.overlaps()).toEqual([]);
});

function rounded(times: number[]): string {
  return times.map((time) => time.toFixed(2)).join(', ');
}

async function activeOn(replica: Replica): Promise<number> {
  return replica.ips.metric('ips_active_tasks');
}

test('what a replica that was killed had begun is ended by others, and one that was stopped meanwhile does no harm', async () => {
  const before = seen.jobs();
  let fleets = 0;
  let holders: Replica[] = [];
  // Who gets which task is chance: until two of them have some.
  while (holders.length < 2) {
    fleets += 1;
    await applyMany(`long${fleets}`, 3, { annotations: { 'ips/concurrent-pulls': '1' } });
    await waitFor('the tasks to be begun', async () => {
      const tasks = await tasksOf(`long${fleets}`);
      return tasks.filter(({ status }) => status?.phase === 'Warming').length === 3;
    });
    const active = await Promise.all(replicas.all.map(activeOn));
    holders = replicas.all.filter((_, index) => (active[index] ?? 0) > 0);
  }
  const [killed, stopped] = holders as [Replica, Replica];
  await killed.kill();
  stopped.freeze();
  const stoppedMs = performance.now();
  for (let fleet = 1; fleet <= fleets; fleet += 1) await allWarm(`long${fleet}`, 3);
  console.error(`• ${3 * fleets} tasks ended ${((performance.now() - stoppedMs) / 1000).toFixed(1)} s later`);
  // What it was in the middle of is over, and so is the time of its locks.
  await waitFor('40 s', async () => performance.now() - stoppedMs > 40_000);
  const audit = await auditFromNow(kit.cluster);
  const made = seen.jobs();
  stopped.thaw();
  await killed.start();
  await replicas.ready(3);
  // It has caught up when it can do new work.
  await applyMany('after', 3);
  const after = await allWarm('after', 3);
  const tasks = (await Promise.all(range(fleets).map((fleet) => tasksOf(`long${fleet}`)))).flat();
  expect(made - before).toBe(plannedJobs(tasks));
  expect(seen.jobs() - made).toBe(plannedJobs(after));
  const old = new Set(tasks.map(({ metadata }) => metadata.name));
  const stale = (await audit()).filter(
    ({ verb, objectRef }) => ['update', 'patch'].includes(verb) && old.has(objectRef?.name),
  );
  expect(stale.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([]);
  expect(seen.overlaps()).toEqual([]);
});

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

/** Each batch is one Job: more would be work done twice. */
function plannedJobs(tasks: PrewarmTask[]): number {
  return tasks.reduce((sum, { status }) => sum + (status?.batch ?? 0), 0);
}

test('the Job of a cancelled task is ended by another replica where the one that has the task hangs, and stays so', async () => {
  const fronts = await startRegistryFronts(kit.cluster);
  onTestFinished(() => fronts.stop());
  const front = await fronts.open(kit.cluster.registry, 'silent');
  const name = unique('hangs');
  await kit.apply({
    apiVersion: 'ips.dev/v1alpha1',
    kind: 'PrewarmTask',
    metadata: { name },
    spec: {
      images: [{ image: `${front.host}/${name}:1`, pullPolicy: 'IfNotPresent' }],
      nodeRequirements: WEB_NODES,
    },
  });
  const taskJobs = () => kit.list<KubernetesObject>('jobs', ['--selector', `ips/task=${name}`]);
  const [job] = await waitFor('its Job', async () => {
    const found = await taskJobs();
    return found.length > 0 && found;
  });
  const { uid = '' } = (await kit.get<PrewarmTask>('prewarmtask', name)).metadata;
  const holder = await waitFor('one replica to have it', async () => {
    const active = await Promise.all(replicas.all.map(activeOn));
    const holders = replicas.all.filter((_, index) => (active[index] ?? 0) > 0);
    return holders.length === 1 && holders[0];
  });
  const audit = await auditFromNow(kit.cluster);
  holder.freeze();
  const cancelMs = Date.now();
  const cancelled = JSON.stringify({ spec: { cancelled: true } });
  await kit.kubectl(['patch', 'prewarmtask', name, '--type=merge', '-p', cancelled]);
  await waitFor('its Job to go', async () => (await taskJobs()).length === 0);
  holder.thaw();
  const removed = (await audit()).find(
    (entry) => is('delete', 'jobs')(entry) && entry.objectRef?.name === job?.metadata.name,
  );
  const seconds = (Date.parse(removed?.requestReceivedTimestamp ?? '') - cancelMs) / 1000;
  console.error(`• removed ${seconds.toFixed(1)} s after it was cancelled`);
  // The lock of the one that hangs lasts for almost 30 s.
  expect(seconds).toBeLessThan(20);
  await waitFor('it to be recorded', async () => {
    const { status } = await kit.get<PrewarmTask>('prewarmtask', name);
    return status?.phase === 'Cancelled';
  });
  await waitFor('the one that hung to answer', async () => (await activeOn(holder)) === 0);
  expect(seen.jobs(uid)).toBe(1);
});

test('told to end under load, replicas answer what they took in, and leave no lock and no token behind', async () => {
  await applyMany('last', 6, { annotations: { 'ips/concurrent-pulls': '1' } });
  await waitFor('the tasks to be begun', async () =>
    (await Promise.all(replicas.all.map(activeOn))).some((count) => count > 0),
  );
  const [first] = redis;
  expect(await first?.command('KEYS', '*')).toMatch(/lock/);
  const reviews = await Promise.all(
    replicas.all.flatMap((replica) => range(5).map(() => beginReview(replica))),
  );
  const ending = replicas.all.map(async (replica) => {
    const begunMs = performance.now();
    const code = await replica.stop();
    return { code, seconds: (performance.now() - begunMs) / 1000 };
  });
  const isEnding = async ({ ips }: Replica) => (await ips.logLines()).some(({ msg }) => msg === 'stopping');
  await waitFor('the replicas to end', async () =>
    (await Promise.all(replicas.all.map(isEnding))).every(Boolean),
  );
  expect(await Promise.all(reviews.map((each) => each.finish()))).toEqual(reviews.map(() => 200));
  const ends = await Promise.all(ending);
  console.error(`• ended after ${ends.map(({ seconds }) => seconds.toFixed(1)).join(', ')} s`);
  expect(ends.map(({ code }) => code)).toEqual([0, 0, 0]);
  expect(Math.max(...ends.map(({ seconds }) => seconds))).toBeLessThan(10);
  for (const server of redis) expect(await leftIn(server)).toEqual([]);
});

/** Locks, and what stands in a semaphore as held. */
async function leftIn(server: RedisServer): Promise<string[]> {
  const keys = (await server.command('KEYS', '*')).split('\n').filter(Boolean);
  return keys.filter((key) => /:lock:|:flight$|:held$/.test(key));
}
