import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Cluster, kubectl } from '../cluster/cluster.ts';
import { blackHole, findComponent } from '../cluster/disturb.ts';
import type { RedisServer } from '../cluster/redis.ts';
import { waitFor } from '../cluster/run.ts';
import type { Replica, Replicas } from '../e2e/replicas.ts';
import type { Violation, Window } from './invariants.ts';
import type { Fault, FaultKind } from './plan.ts';

/** What is hurt, and how it is mended. */
export type Scene = {
  cluster: Cluster;
  replicas: Replicas;
  redis: RedisServer[];
  /** What went wrong at a fault itself. */
  violations: Violation[];
};

export type Struck = Fault & Window;

/** A clock that is ahead is so by this. */
export const AHEAD_MS = 600_000;

/** The balancer sees within 3 s who is there, and the API server dials again after a back-off. */
const SEEN_MS = 10_000;
const API_BACK_MS = 2_000;

/** Does it, and gives what mends it. */
const STRIKES: Record<FaultKind, (scene: Scene, target: number) => Promise<() => Promise<void>>> = {
  async kill({ replicas }, target) {
    const replica = replicaOf(replicas, target);
    await replica.kill();
    return () => startAgain(replica);
  },
  async terminate(scene, target) {
    await terminate(scene, target);
    return () => startAgain(replicaOf(scene.replicas, target));
  },
  async freeze({ replicas }, target) {
    const replica = replicaOf(replicas, target);
    replica.freeze();
    return async () => replica.thaw();
  },
  async clock({ cluster }, target) {
    await setClock(cluster, target, '+10m'); // AHEAD_MS
    return () => setClock(cluster, target, '+0');
  },
  async webhook({ replicas }) {
    const mend = replicas.cutOff();
    return async () => mend();
  },
  async 'redis-kill'({ redis }, target) {
    await redis[target]?.kill();
    return async () => redis[target]?.start();
  },
  async 'redis-freeze'({ redis }, target) {
    redis[target]?.freeze();
    return async () => redis[target]?.thaw();
  },
  async 'redis-flush'({ redis }) {
    // One that is away has lost all, or cannot be asked.
    await Promise.allSettled(redis.map((server) => server.flush()));
    return async () => {};
  },
  async 'redis-away'({ redis }) {
    await Promise.all(redis.map((server) => server.kill()));
    return async () => void (await Promise.all(redis.map((server) => server.start())));
  },
  async 'api-server'({ cluster }) {
    const start = await findComponent(cluster, 'kube-apiserver').kill();
    return async () => {
      start();
      await apiAnswers(cluster);
    };
  },
  async 'black-hole'({ cluster }) {
    const lift = await blackHole(cluster);
    return async () => {
      await lift();
      await apiAnswers(cluster);
    };
  },
};

/** SIGTERM, as in a rolling upgrade. */
export async function terminate({ replicas, violations }: Scene, target: number): Promise<void> {
  const code = await replicaOf(replicas, target).stop();
  const what = `replica ${target} ended with ${code}`;
  if (code !== 0) violations.push({ invariant: 'a replica that is told to end does so in order', what });
}

/** Strikes and mends; gives from when to when it lasted. */
export async function strike(scene: Scene, fault: Fault): Promise<Struck> {
  const fromMs = Date.now();
  const mend = await STRIKES[fault.kind](scene, fault.target);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, fromMs + fault.forMs - Date.now())));
  await mend();
  return { ...fault, fromMs, toMs: Date.now() };
}

const HURT_API: FaultKind[] = ['api-server', 'black-hole'];
/** Redis and clocks are not among them: admission has nothing to do with those. */
const HURT_WEBHOOK: FaultKind[] = [...HURT_API, 'kill', 'terminate', 'freeze', 'webhook'];

export function apiAway(struck: readonly Struck[]): Window[] {
  return struck.filter(({ kind }) => HURT_API.includes(kind)).map((each) => lasting(each, API_BACK_MS));
}

export function webhookHurt(struck: readonly Struck[]): Window[] {
  return struck.filter(({ kind }) => HURT_WEBHOOK.includes(kind)).map((each) => lasting(each, SEEN_MS));
}

function lasting({ fromMs, toMs }: Window, moreMs: number): Window {
  return { fromMs, toMs: toMs + moreMs };
}

/** The environment of a replica whose clock can be set while it runs; how long things take stays true. */
export function clockEnv(cluster: Cluster, target: number): Record<string, string> {
  return {
    // ld.so knows the folder of this machine's kind as $LIB.
    LD_PRELOAD: '/usr/$LIB/faketime/libfaketimeMT.so.1',
    FAKETIME_TIMESTAMP_FILE: clockFile(cluster, target),
    FAKETIME_CACHE_DURATION: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
}

export async function setClock(cluster: Cluster, target: number, offset: '+0' | '+10m'): Promise<void> {
  await writeFile(clockFile(cluster, target), `${offset}\n`);
}

function clockFile(cluster: Cluster, target: number): string {
  return join(cluster.folder, `clock-${target}`);
}

function replicaOf(replicas: Replicas, target: number): Replica {
  const replica = replicas.all[target];
  if (!replica) throw new Error(`there is no replica ${target}`);
  return replica;
}

/** It needs the API server for its token, which may be away just now. */
async function startAgain(replica: Replica): Promise<void> {
  await waitFor(`replica ${replica.index} to start`, () => replica.start().then(() => true), {
    timeoutMs: 120_000,
    everyMs: 500,
  });
}

async function apiAnswers(cluster: Cluster): Promise<void> {
  await waitFor('the API server', () => kubectl(cluster, ['get', '--raw', '/readyz']), {
    timeoutMs: 120_000,
  });
}
