import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Pod } from '../src/domain/kubernetes.ts';
import { createKubeClient, type KubeClient } from '../src/kube/client.ts';
import { loadKubeConfig } from '../src/kube/config.ts';
import { createInformer } from '../src/kube/informer.ts';
import { RESOURCES } from '../src/kube/resources.ts';
import { type Cluster, kubectl, startCluster, stopCluster } from '../test/cluster/cluster.ts';
import { startKwok } from '../test/cluster/components.ts';
import { addFakeNodes } from '../test/cluster/fake-nodes.ts';
import { waitFor } from '../test/cluster/run.ts';
import { sandboxObstacle } from '../test/cluster/sandbox.ts';
import { type Ips, installIps, startIps } from '../test/e2e/ips.ts';
import { missedGoals, report } from './report.ts';
import { keepResults } from './results.ts';
import { cleanUp, type Run, SHAPES, type Shape } from './shapes.ts';
import { countIps, readRequests, requestsSince } from './writes.ts';

/**
 * How long it takes to bring 5 images to 300 nodes that kwok plays, and how many writes the API server sees, for IPS
 * and for what one would make by hand, in the same run on the same cluster with default flags. Nothing is pulled: what
 * is measured is the machinery around the pulls.
 */

export type Result = {
  shape: string;
  round: number;
  /** From the first request to the last pod's end. */
  podsSeconds: number;
  /** From the first request until the user is told: Jobs complete, or `ips/status`. */
  warmSeconds: number;
  /** Of all writers until then, by verb and resource; what the API server refused is none. */
  writes: Record<string, number>;
  /** The same when all is at rest: the garbage collector has followed. */
  writesAtRest: Record<string, number>;
  /** Until then: its reads, watches and writes. */
  requestsByIps: number;
};

const IMAGES = 5;
const POOL = 'bench';
const { values: flags } = parseArgs({
  options: {
    nodes: { type: 'string', default: '300' },
    rounds: { type: 'string', default: '3' },
    shapes: { type: 'string', default: SHAPES.map(({ name }) => name).join() },
  },
});
const nodeCount = Number(flags.nodes);
const shapes = SHAPES.filter(({ name }) => flags.shapes.split(',').includes(name));

const say = (line: string) => console.error(`• ${line}`);
let cluster: Cluster | undefined;
let ips: Ips | undefined;

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void end().then(() => process.exit(130)));
try {
  await bench();
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  await end();
}

async function end(): Promise<void> {
  await ips?.stop();
  ips = undefined;
  if (cluster) await stopCluster(cluster);
  cluster = undefined;
}

async function bench(): Promise<void> {
  const obstacle = await sandboxObstacle();
  if (obstacle) throw new Error(`it needs a real cluster, which cannot run here: ${obstacle}`);
  cluster = await startCluster({ name: `bench-${process.pid}`, lifeline: true, say });
  await installIps(cluster);
  await startKwok(cluster);
  await addFakeNodes(cluster, POOL, nodeCount);
  // Each node that registers is worth an Event.
  await atRest(cluster, await readRequests(cluster));
  await countIps(cluster);
  ips = await startIps(cluster);
  const client = createKubeClient(loadKubeConfig(cluster.kubeconfigFile), { userAgent: 'bench' });
  const results: Result[] = [];
  for (let round = 1; round <= Number(flags.rounds); round += 1) {
    // One after another, in another order each time: what comes later on a machine must not always be the same.
    const order = round % 2 === 1 ? shapes : shapes.toReversed();
    for (const shape of order) {
      const result = await measure(cluster, client, shape, round);
      say(`${shape.name}, round ${round}: warm after ${result.warmSeconds.toFixed(1)} s`);
      results.push(result);
    }
  }
  await keep(cluster, results);
  console.log(report(results));
  for (const goal of missedGoals(results)) {
    console.log(`goal missed: ${goal}`);
    process.exitCode = 1;
  }
}

async function measure(at: Cluster, client: KubeClient, shape: Shape, round: number): Promise<Result> {
  const namespace = `${shape.name}-${round}`;
  const run: Run = {
    ...{ client, namespace, pool: POOL, workerImage: `${at.registry.host}/pause:3.10` },
    nodes: Array.from({ length: nodeCount }, (_, index) => `${POOL}-${index}`),
    images: Array.from({ length: IMAGES }, (_, index) => `registry.invalid/bench-${index}:${round}`),
  };
  await kubectl(at, ['create', 'namespace', namespace]);
  await waitFor('the service account', () =>
    kubectl(at, ['get', 'serviceaccount', 'default', '--namespace', namespace]),
  );
  const pods = countPods(client, namespace);
  await pods.start();
  const before = await readRequests(at);
  const started = performance.now();
  await shape.begin(run);
  await waitFor(`${shape.name} to be done`, () => shape.done(run), { timeoutMs: 400_000, everyMs: 200 });
  const warmSeconds = (performance.now() - started) / 1000;
  const { writes, byIps } = requestsSince(before, await readRequests(at));
  const writesAtRest = await atRest(at, before);
  const podsSeconds = (pods.lastEndedAt() - started) / 1000;
  pods.stop();
  await cleanUp(run);
  return { shape: shape.name, round, podsSeconds, warmSeconds, writes, writesAtRest, requestsByIps: byIps };
}

/** Notes when the last pod ended, by a watch. */
function countPods(client: KubeClient, namespace: string) {
  const ended = new Set<string>();
  let last = Number.NaN;
  const informer = createInformer<Pod>({
    client,
    resource: RESOURCES.pods,
    trim: ({ metadata, ...rest }) => ({ metadata, status: { phase: (rest as Pod).status?.phase ?? '' } }),
    onChange(key, _before, after) {
      if (after?.metadata.namespace !== namespace || after.status?.phase !== 'Succeeded' || ended.has(key))
        return;
      ended.add(key);
      last = performance.now();
    },
    onError: (error) => say(`watch of pods: ${error}`),
  });
  return { start: () => informer.start(), stop: () => informer.stop(), lastEndedAt: () => last };
}

/** The writes until nothing has been written for three seconds. */
async function atRest(
  at: Cluster,
  before: Awaited<ReturnType<typeof readRequests>>,
): Promise<Result['writes']> {
  let last = requestsSince(before, await readRequests(at)).writes;
  for (;;) {
    await sleep(3000);
    const now = requestsSince(before, await readRequests(at)).writes;
    if (JSON.stringify(now) === JSON.stringify(last)) return now;
    last = now;
  }
}

async function keep(at: Cluster, results: Result[]): Promise<void> {
  const { serverVersion } = JSON.parse(await kubectl(at, ['version', '-o', 'json']));
  const file = await keepResults('batch', {
    command: `make bench-batch NODES=${nodeCount} ROUNDS=${flags.rounds}`,
    versions: { kubernetes: serverVersion?.gitVersion },
    data: {
      nodes: nodeCount,
      images: IMAGES,
      shapes: Object.fromEntries(shapes.map(({ name, about }) => [name, about])),
      results,
    },
  });
  say(`kept as ${file}`);
}
