import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts';
import { loadKubeConfig } from '../../src/kube/config.ts';
import { type Cluster, kubectl, startCluster, stopCluster } from '../../test/cluster/cluster.ts';
import { startKwok } from '../../test/cluster/components.ts';
import { waitFor } from '../../test/cluster/run.ts';
import { sandboxObstacle } from '../../test/cluster/sandbox.ts';
import { installIps } from '../../test/e2e/ips.ts';
import { type Freezes, startFreezes } from '../freezes.ts';
import { keepResults, writeSection } from '../results.ts';
import { runBench } from '../run.ts';
import { pinByHand } from './by-hand.ts';
import { addNodes, changeImages, nodeName } from './nodes.ts';
import { type Measured, type MeasuredIps, startMeasured } from './process.ts';
import { missedGoals, page, table } from './report.ts';
import { type Counts, type Requests, readWrites, requestsOfIps, since, total } from './requests.ts';
import { cleanUp, SHAPES, SHARING, type Shape } from './shapes.ts';
import {
  addStanding,
  BURST_NAMESPACE,
  burst,
  createNamespace,
  IMAGES,
  standingNamespaces,
  warmIn,
} from './workloads.ts';

/**
 * IPS on clusters of up to 5,000 nodes that kwok plays, beside what one would make by hand, in the same run and with the
 * default flags of Kubernetes: time, requests, memory, and how long its event loop is held up. Nothing is pulled: what
 * is measured is the machinery around the pulls.
 */

/** What IPS did in a while. */
export type Phase = { seconds: number; requests: Requests } & Measured;

export type ShapeResult = {
  shape: string;
  /** From the first request until the user is told that all is warm: Jobs complete, or `ips/status`. */
  seconds: number;
  /** Of all writers until then, by verb and resource, of pods, Jobs, Events and tasks. */
  writes: Counts;
  ips: Phase;
};

export type SizeResult = {
  nodes: number;
  workloads: number;
  /** Workloads are applied that are warm already, until all are told. */
  standing: Phase;
  shapes: ShapeResult[];
  /** A new process, with everything already there, until it is ready; `ips` until a minute later. */
  start: { seconds: number; ips: Phase };
  rest: Phase;
  /** Nodes tell of other images; of results from before it was measured, not there. */
  changes?: Phase;
  /** Pods of one template that opted in, all at once. */
  burst: { pods: number; tasks: number; ips: Phase };
};

const PAGE = 'docs/performance.md';
const REST_SECONDS = 60;
/** Kubernetes takes a node for lost after this long; the default is 50 s. */
const LEASE_SECONDS = 1_200;
const HOUR_MS = 3_600_000;

const { values: flags } = parseArgs({
  options: {
    sizes: { type: 'string', default: '300,1000,5000' },
    workloads: { type: 'string', default: '500' },
    shapes: { type: 'string', default: '' },
    page: { type: 'boolean', default: false },
    // Runs nothing: writes the page from the kept results that are named.
    from: { type: 'string' },
  },
});
const sizes = flags.sizes.split(',').map(Number);
const workloads = Number(flags.workloads);
const begunMs = performance.now();
const say = (line: string) =>
  console.error(`• ${String(Math.round((performance.now() - begunMs) / 1000)).padStart(5)} s  ${line}`);
let cluster: Cluster | undefined;
let measuredIps: MeasuredIps | undefined;
let freezes: Freezes | undefined;

await runBench(() => (flags.from ? tell(flags.from.split(',')) : bench()), end);

async function end(): Promise<void> {
  await measuredIps?.ips.stop();
  measuredIps = undefined;
  await freezes?.stop();
  freezes = undefined;
  if (cluster) await stopCluster(cluster);
  cluster = undefined;
}

async function bench(): Promise<void> {
  const obstacle = await sandboxObstacle();
  if (obstacle) throw new Error(`it needs a real cluster, which cannot run here: ${obstacle}`);
  const results: SizeResult[] = [];
  let kubernetes: string | undefined;
  for (const nodes of sizes) {
    say(`${nodes} nodes`);
    // As seldom as kwok's nodes tell that they live: at the usual pace the leases of thousands keep a machine busy.
    const controllerManager = [`--node-monitor-grace-period=${LEASE_SECONDS}s`];
    const options = { name: `bench-${process.pid}`, lifeline: true, say, flags: { controllerManager } };
    cluster = await startCluster(options);
    kubernetes ??= JSON.parse(await kubectl(cluster, ['version', '-o', 'json'])).serverVersion?.gitVersion;
    results.push(await measureSize(cluster, nodes));
    await end();
  }
  const file = await keepResults('scale', {
    command: `make bench-scale SIZES=${flags.sizes} WORKLOADS=${workloads}${flags.shapes ? ` SHAPES=${flags.shapes}` : ''}`,
    versions: { kubernetes },
    data: {
      images: IMAGES,
      shapes: Object.fromEntries(SHAPES.map(({ name, about }) => [name, about])),
      results,
    },
  });
  say(`kept as ${file}`);
  await tell([file]);
}

/** Prints the results of these files, and what they miss. */
async function tell(files: string[]): Promise<void> {
  const results: SizeResult[] = [];
  for (const file of files)
    results.push(...(JSON.parse(await readFile(file, 'utf8')) as { results: SizeResult[] }).results);
  console.log(table(results));
  const missed = missedGoals(results);
  for (const goal of missed) console.log(`goal missed: ${goal}`);
  if (flags.page) await writeSection(PAGE, 'scale', page(results, missed, files));
  if (missed.length > 0) process.exitCode = 1;
}

async function measureSize(at: Cluster, nodes: number): Promise<SizeResult> {
  await installIps(at);
  await startKwok(at, { leaseSeconds: LEASE_SECONDS });
  const client = createKubeClient(loadKubeConfig(at.kubeconfigFile), { userAgent: 'bench' });
  await pinByHand(client);
  await addNodes(client, nodes, say);
  freezes ??= await startFreezes();
  measuredIps = await startMeasured(at, freezes);
  say(`IPS is ready after ${measuredIps.startSeconds.toFixed(1)} s`);
  const standing = await phase(at, measuredIps, () => makeStanding(client, nodes));
  say(`standing workloads told after ${standing.seconds.toFixed(1)} s`);
  const shapes: ShapeResult[] = [];
  for (const shape of SHAPES.filter((each) => isAsked(each, nodes)))
    shapes.push(await measureShape(at, client, shape, nodes));

  const { webhookPort } = measuredIps.ips;
  await measuredIps.ips.stop();
  const startMs = Date.now();
  measuredIps = await startMeasured(at, freezes, webhookPort);
  const seconds = measuredIps.startSeconds;
  say(`with everything there IPS is ready after ${seconds.toFixed(1)} s`);
  await sleep(REST_SECONDS * 1000);
  const start = { seconds, ips: await phaseSince(at, measuredIps, startMs) };
  const rest = await phase(at, measuredIps, () => sleep(REST_SECONDS * 1000));
  say(`at rest ${rest.requests.perSecond.toFixed(2)} requests a second`);
  const changes = await phase(at, measuredIps, () => changeImages(client, nodes));
  say(`while nodes change ${changes.cpuSeconds.toFixed(1)} s of processor time`);
  const burst = await measureBurst(at, client, nodes);
  return { nodes, workloads, standing, shapes, start, rest, changes, burst };
}

function isAsked({ name, mostNodes = Number.POSITIVE_INFINITY }: Shape, nodes: number): boolean {
  return flags.shapes ? flags.shapes.split(',').includes(name) : nodes <= mostNodes;
}

/** What IPS takes while `work` is done. */
async function phase(at: Cluster, ips: MeasuredIps, work: () => Promise<unknown>): Promise<Phase> {
  await ips.begin();
  const fromMs = Date.now();
  await work();
  return phaseSince(at, ips, fromMs);
}

async function phaseSince(at: Cluster, ips: MeasuredIps, fromMs: number): Promise<Phase> {
  const untilMs = Date.now();
  const measured = await ips.measured();
  const requests = await requestsOfIps(at, fromMs, untilMs);
  return { seconds: (untilMs - fromMs) / 1000, requests, ...measured };
}

async function makeStanding(client: KubeClient, nodes: number): Promise<void> {
  // Those of the shapes of IPS come on top.
  const count = workloads - SHARING;
  await addStanding(client, count);
  const warm = async () => {
    let sum = 0;
    for (const namespace of standingNamespaces) sum += await warmIn(client, namespace, nodes);
    return sum;
  };
  // One whose admission took too long on a busy machine is found by the next resync, within ten minutes.
  await waitFor('the standing workloads to be warm', async () => (await warm()) === count, {
    ...{ timeoutMs: HOUR_MS / 4, everyMs: 1_000 },
  });
}

async function measureShape(
  at: Cluster,
  client: KubeClient,
  shape: Shape,
  nodeCount: number,
): Promise<ShapeResult> {
  const run = {
    ...{ client, namespace: shape.name, workerImage: `${at.registry.host}/pause:3.10` },
    nodes: Array.from({ length: nodeCount }, (_, index) => nodeName(index)),
    images: Array.from({ length: IMAGES }, (_, index) => `registry.invalid/${shape.name}-${index}:1`),
  };
  await createNamespace(client, run.namespace);
  await atRest(at);
  const before = await readWrites(at);
  const ips = await phase(at, measuredIps as MeasuredIps, async () => {
    await shape.begin(run);
    const everyMs = Math.max(200, nodeCount / 2);
    await waitFor(`${shape.name} to be done`, () => shape.done(run), { timeoutMs: HOUR_MS, everyMs });
  });
  const writes = since(before, await readWrites(at));
  say(`${shape.name}: ${ips.seconds.toFixed(1)} s, ${(total(writes) / nodeCount).toFixed(2)} writes a node`);
  await cleanUp(run);
  return { shape: shape.name, seconds: ips.seconds, writes, ips };
}

/** Until nothing has been written for three seconds. */
async function atRest(at: Cluster): Promise<void> {
  let last = total(await readWrites(at));
  await waitFor(
    'the cluster to be at rest',
    async () => {
      const now = total(await readWrites(at));
      const still = now === last;
      last = now;
      return still;
    },
    { timeoutMs: HOUR_MS, everyMs: 3_000 },
  );
}

async function measureBurst(at: Cluster, client: KubeClient, nodes: number): Promise<SizeResult['burst']> {
  let pods = 0;
  const tasksSeen = new Set<string>();
  const resource = { apiVersion: 'v1', plural: 'pods' };
  const ips = await phase(at, measuredIps as MeasuredIps, async () => {
    pods = await burst(client);
    const told = async () => {
      for (const each of await tasksIn(client, BURST_NAMESPACE)) tasksSeen.add(each);
      const { items } = await client.list(resource, BURST_NAMESPACE, {}, { metadataOnly: true });
      const warm = `Warm ${nodes}/${nodes} nodes`;
      return items.filter(({ metadata }) => metadata.annotations?.['ips/status'] === warm).length === pods;
    };
    await waitFor('all pods to be told', told, { timeoutMs: HOUR_MS / 4, everyMs: 1_000 });
  });
  say(`burst: ${tasksSeen.size} task, all pods told after ${ips.seconds.toFixed(1)} s`);
  return { pods, tasks: tasksSeen.size, ips };
}

async function tasksIn(client: KubeClient, namespace: string): Promise<string[]> {
  const tasks = { apiVersion: 'ips.dev/v1alpha1', plural: 'prewarmtasks' };
  const { items } = await client.list(tasks, namespace, {}, { metadataOnly: true });
  return items.map(({ metadata }) => metadata.uid ?? '');
}
