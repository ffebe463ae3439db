import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TASK_LABEL } from '../../src/domain/annotations.ts';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts';
import { loadKubeConfig } from '../../src/kube/config.ts';
import { type Cluster, pushTestImage, startCluster, stopCluster } from '../cluster/cluster.ts';
import { startKwok } from '../cluster/components.ts';
import { addFakeNodes } from '../cluster/fake-nodes.ts';
import { startRedisServers } from '../cluster/redis.ts';
import { installIps } from '../e2e/ips.ts';
import { createKit } from '../e2e/kit.ts';
import { startReplicas } from '../e2e/replicas.ts';
import type { AtOnce } from '../e2e/witness.ts';
import { type Random, seeded } from '../seeded.ts';
import { atRest, keysGone, objectsGone } from './checks.ts';
import {
  AHEAD_MS,
  apiAway,
  clockEnv,
  type Scene,
  type Struck,
  setClock,
  strike,
  terminate,
  webhookHurt,
} from './faults.ts';
import { failedAdmissions, LOAD_AGENT, slowAdmissions, type Violation, workDoneTwice } from './invariants.ts';
import { latePods, looseLimits, overLimits, saidAway } from './limits.ts';
import { createLoad, type Load } from './load.ts';
import { type Observer, observe } from './observer.ts';
import { describeFault, type Fault, meets, planFaults } from './plan.ts';
import { conflictsIn, explain, summary, tally } from './report.ts';

export type ChaosOptions = {
  seed: number;
  /** How long faults come. */
  forMs: number;
  scale?: number;
  /** How long it may take until all is as it must be. */
  settleMs?: number;
  /** Whether keys may stay in Redis that expire by themselves within 4 min. */
  expiring?: boolean;
  say: (line: string) => void;
};

export type ChaosReport = {
  seed: number;
  seconds: number;
  faults: Record<string, number>;
  load: Record<string, number>;
  admissions: object;
  jobs: number;
  warmers: number;
  /** As far as limits were promised just then. */
  mostAtOnce: AtOnce;
  /** Of IPS's own writes, by resource. */
  conflicts: Record<string, number>;
  /** From the last fault's end until all was as it must be, then with a crowd more, and then until nothing was left. */
  settledSeconds: number;
  crowdSeconds: number;
  clearedSeconds: number;
  /** And with the replicas ended, until no key was left in Redis. */
  emptiedSeconds: number;
  violations: Violation[];
};

const REPLICAS = 3;
const REDIS_SERVERS = 3;
const POOL = 'fleet';
const FAKE_NODES = 24;
/** Workloads that come at once in the end. */
const CROWD = 4;
const LIMITS = { tasks: 3, pulls: 10 };
/** How long a fake node takes to pull, at most: long enough for a fault to fall into it. */
const MOST_POD_MS = 4_000;
/** From one thing that the load does to the next. */
const PAUSE_MS = [200, 2_500] as const;
/** As many do so at once: one that waits for an answer does not keep the others. */
const HANDS = 3;
const CONTROL_EVERY_MS = 300;
/** A lost node's pods go within 60 s or so, the share of a dead replica after 240 s; and machines may be slow. */
const SETTLE_MS = 300_000;
/** What was once right must not come undone when a late writer comes to its turn. */
const STAYS_MS = 3_000;

/** Starts everything, hurts it as the seed says while a team is at work, and looks whether what must hold did. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { say } = options;
  const cluster = await startCluster({
    ...{ name: `chaos-${process.pid}`, lifeline: true, say },
    flags: { auditPolicy: join(import.meta.dirname, 'audit.yaml') },
  });
  const ends: (() => Promise<unknown>)[] = [() => stopCluster(cluster)];
  try {
    await installIps(cluster);
    await startKwok(cluster, { mostPodMs: MOST_POD_MS });
    await addFakeNodes(cluster, POOL, FAKE_NODES);
    const redis = await startRedisServers(REDIS_SERVERS);
    ends.push(() => Promise.all(redis.map((server) => server.close())));
    const indexes = Array.from({ length: REPLICAS }, (_, index) => index);
    await Promise.all(indexes.map((index) => setClock(cluster, index, '+0')));
    const env = (index: number) => ({
      REDIS_ADDRESSES: redis.map(({ address }) => address).join(),
      RESYNC_SECONDS: '10',
      MAX_ACTIVE_TASKS: String(LIMITS.tasks),
      MAX_CONCURRENT_PULLS: String(LIMITS.pulls),
      ...clockEnv(cluster, index),
    });
    const replicas = await startReplicas(cluster, { count: REPLICAS, env });
    ends.push(() => replicas.stop());
    const client = createKubeClient(loadKubeConfig(cluster.kubeconfigFile), { userAgent: LOAD_AGENT });
    const observer = await observe(cluster, client, join(cluster.folder, 'logs'));
    ends.push(() => observer.stop());
    return await hurt(options, { cluster, replicas, redis, violations: [] }, client, observer);
  } finally {
    for (const end of ends.toReversed())
      await end().catch((error: unknown) =>
        say(`at the end: ${error instanceof Error ? error.message : error}`),
      );
  }
}

async function hurt(
  options: ChaosOptions,
  scene: Scene,
  client: KubeClient,
  observer: Observer,
): Promise<ChaosReport> {
  const { seed, forMs, say, settleMs = SETTLE_MS, expiring = false } = options;
  const started = performance.now();
  const seconds = () => ((performance.now() - started) / 1000).toFixed(1).padStart(6);
  const plan = planFaults({ ...options, replicas: REPLICAS, redisServers: REDIS_SERVERS });
  say(`seed ${seed}: ${plan.length} faults in ${forMs / 1000} s\n${plan.map(describeFault).join('\n')}`);
  const { namespace } = await createKit('chaos', scene.cluster);
  const load = createLoad({
    ...{ client, namespace, pool: POOL, nodes: FAKE_NODES, random: seeded(~seed) },
    images: await pushImages(scene.cluster),
  });

  const struck: Struck[] = [];
  const stop = new AbortController();
  const hands = Array.from({ length: HANDS }, (_, hand) => seeded(seed + hand));
  const working = [
    ...hands.map((random) => repeat(stop.signal, load.step, random, PAUSE_MS)),
    repeat(stop.signal, load.control, seeded(seed), [CONTROL_EVERY_MS, CONTROL_EVERY_MS]),
  ];
  const begun = Date.now();
  const going = new Set<Fault>();
  await Promise.all(
    plan.map(async (fault) => {
      await sleep(Math.max(0, begun + fault.atMs - Date.now()));
      // A start without an API server, for one, takes longer than planned.
      while ([...going].some((each) => meets(each, fault))) await sleep(200);
      say(`${seconds()} s  ${describeFault(fault).trim()}`);
      going.add(fault);
      struck.push(await strike(scene, fault));
      going.delete(fault);
    }),
  );
  await sleep(Math.max(0, begun + forMs - Date.now()));
  stop.abort();
  await Promise.all(working);
  say(`${seconds()} s  all is mended; ${load.applies.length} applies, ${load.wishes.size} workloads`);

  const settled = await hold(settleMs, () => atRest(scene, client, load, { namespace, pool: POOL }));
  say(`${seconds()} s  at rest after ${settled.seconds.toFixed(1)} s`);
  // Whatever was lost or doubled of what they share shows when many want it; what is wrong already stays so.
  await load.crowd(CROWD);
  const crowdMs = settled.violations.length > 0 ? 0 : settleMs;
  const crowded = await hold(crowdMs, () => atRest(scene, client, load, { namespace, pool: POOL }));
  say(`${seconds()} s  ${CROWD} more are warm after ${crowded.seconds.toFixed(1)} s`);
  const limits = await limitsKept(scene, observer, struck, load);
  await load.clear();
  const cleared = await hold(settleMs, () => objectsGone(client, namespace));
  say(`${seconds()} s  no object left after ${cleared.seconds.toFixed(1)} s`);
  await Promise.all(scene.replicas.all.map(({ index }) => terminate(scene, index)));
  const emptied = await hold(settleMs, () => keysGone(scene, expiring));
  say(`${seconds()} s  no key left after ${emptied.seconds.toFixed(1)} s`);
  const audit = await observer.audit();
  const violations = [
    ...scene.violations,
    ...workDoneTwice(observer.jobs, observer.pods, audit),
    ...settled.violations,
    ...(settled.violations.length > 0 ? [] : crowded.violations),
    ...cleared.violations,
    ...emptied.violations,
    ...failedAdmissions({ ...load, apiAway: apiAway(struck), webhookHurt: webhookHurt(struck) }),
    ...slowAdmissions(audit, load.controls),
    ...limits.violations,
  ];
  if (violations.length > 0) await explain({ ...options, ...scene, observer, struck, violations });
  return {
    ...{ seed, seconds: (performance.now() - started) / 1000 },
    faults: tally(struck.map(({ kind }) => kind)),
    load: Object.fromEntries(load.counts),
    admissions: summary(load.applies, load.controls, struck),
    jobs: uids(observer.jobs),
    warmers: uids(observer.pods),
    mostAtOnce: limits.most,
    conflicts: conflictsIn(audit),
    settledSeconds: settled.seconds,
    crowdSeconds: crowded.seconds,
    clearedSeconds: cleared.seconds,
    emptiedSeconds: emptied.seconds,
    violations,
  };
}

/**
 * But for warmers on nodes that went, and of tasks that went: their end is the cluster's, and comes a while after; and for
 * those that come when nobody waits for them any more.
 */
async function limitsKept(
  { cluster, redis }: Scene,
  { tasks, jobs, pods }: Observer,
  struck: Struck[],
  { nodes }: Load,
): Promise<ReturnType<typeof overLimits>> {
  const away = await saidAway(join(cluster.folder, 'logs'), redis[0]?.address ?? '', AHEAD_MS);
  const gone = new Set(tasks.flatMap(({ type, object }) => (type === 'DELETED' ? object.metadata.name : [])));
  const late = latePods(jobs, pods);
  return overLimits(pods, {
    limits: LIMITS,
    loose: [...looseLimits(struck), ...away],
    counts: ({ metadata, spec: { nodeName = '' } }) =>
      (nodes.has(nodeName) || !nodeName.startsWith(POOL)) &&
      !(gone.has(metadata.labels?.[TASK_LABEL]) || late.has(metadata.uid ?? '')),
  });
}

async function pushImages(cluster: Cluster) {
  const real: string[] = [];
  for (const index of [1, 2, 3, 4, 5, 6])
    real.push(await pushTestImage(cluster, `chaos-${index}:1`, 200_000));
  return { real, missing: (name: string) => `${cluster.registry.host}/${name}:1` };
}

async function repeat(
  signal: AbortSignal,
  step: () => Promise<void>,
  random: Random,
  [least, most]: readonly [number, number],
): Promise<void> {
  while (!signal.aborted) {
    await step();
    await sleep(random.integer(least, most));
  }
}

/** Asks again until nothing is wrong and stays so for a while, or the time is up. */
async function hold(
  mostMs: number,
  ask: () => Promise<Violation[]>,
): Promise<{ seconds: number; violations: Violation[] }> {
  const started = performance.now();
  let rightMs: number | undefined;
  for (;;) {
    const violations = await ask().catch((error: unknown) => [
      { invariant: 'it can be asked', what: String(error) },
    ]);
    const ms = performance.now() - started;
    rightMs = violations.length > 0 ? undefined : (rightMs ?? ms);
    if (rightMs !== undefined && ms - rightMs > STAYS_MS) return { seconds: rightMs / 1000, violations };
    if (ms > mostMs) return { seconds: ms / 1000, violations };
    await sleep(500);
  }
}

const uids = (events: { object: KubernetesObject }[]) =>
  new Set(events.map(({ object }) => object.metadata.uid)).size;
