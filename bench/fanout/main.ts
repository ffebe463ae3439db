import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Cluster,
  kubectl,
  pushTestImage,
  startCluster,
  stopCluster,
} from '../../test/cluster/cluster.ts';
import { type Rate, type RegistryFronts, startRegistryFronts } from '../../test/cluster/fronts.ts';
import { sandboxObstacle } from '../../test/cluster/sandbox.ts';
import { type Ips, installIps, startIps } from '../../test/e2e/ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique } from '../../test/e2e/kit.ts';
import { keepResults } from '../results.ts';
import { runBench } from '../run.ts';
import { type FanoutResult, report } from './report.ts';

/**
 * How long it takes to bring an image to real nodes, and how many pulls fail on the way, where the registry takes only
 * so many requests a second: for IPS as shipped, and for IPS with a width that stays what it is.
 */

/** Whoever is not warm by then has nodes that used up their tries and wait for ten minutes. */
const LIMIT_SECONDS = 120;

const REGISTRIES: { name: string; rate?: Rate }[] = [
  { name: 'unlimited' },
  { name: '5 a second', rate: { burst: 10, perSecond: 5 } },
  { name: '2 a second', rate: { burst: 5, perSecond: 2 } },
];

const { values: flags } = parseArgs({
  options: {
    nodes: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '1' },
    widths: { type: 'string', default: '1,5,50' },
    registries: { type: 'string', default: REGISTRIES.map(({ name }) => name).join() },
    keep: { type: 'boolean', default: true },
  },
  allowNegative: true,
});
const nodeCount = Number(flags.nodes);
const widths = flags.widths.split(',').filter(Boolean).map(Number);
const registries = REGISTRIES.filter(({ name }) => flags.registries.split(',').includes(name));

const say = (line: string) => console.error(`• ${line}`);
let cluster: Cluster | undefined;
let ips: Ips | undefined;
let fronts: RegistryFronts | undefined;

await runBench(bench, end);

async function end(): Promise<void> {
  await ips?.stop();
  ips = undefined;
  await fronts?.stop();
  fronts = undefined;
  if (cluster) await stopCluster(cluster);
  cluster = undefined;
}

async function bench(): Promise<void> {
  const obstacle = await sandboxObstacle();
  if (obstacle) throw new Error(`it needs a real cluster, which cannot run here: ${obstacle}`);
  const nodes = Array.from({ length: nodeCount }, (_, index) => ({
    ...{ name: `node-${index}`, labels: {}, taints: [], serializeImagePulls: false },
  }));
  cluster = await startCluster({ name: `bench-${process.pid}`, lifeline: true, say, nodes });
  await installIps(cluster);
  fronts = await startRegistryFronts(cluster);
  const kit = await createKit('fanout', cluster);
  const results: FanoutResult[] = [];
  const fixed = { NODE_OPTIONS: `--import=${join(import.meta.dirname, 'fixed-width.ts')}` };
  ips = await startIps(cluster);
  const { webhookPort } = ips;
  await measure(kit, undefined, { name: 'warm-up' });
  for (let round = 1; round <= Number(flags.rounds); round += 1) {
    for (const registry of registries) results.push(await measure(kit, undefined, registry));
    await ips.stop();
    ips = await startIps(cluster, { webhookPort, env: fixed });
    for (const registry of registries)
      for (const width of widths) results.push(await measure(kit, width, registry));
    await ips.stop();
    ips = await startIps(cluster, { webhookPort });
  }
  console.log(report(results));
  if (!flags.keep) return;
  const { serverVersion } = JSON.parse(await kubectl(cluster, ['version', '-o', 'json']));
  const file = await keepResults('fanout', {
    command: `make bench-fanout ROUNDS=${flags.rounds}`,
    versions: { kubernetes: serverVersion?.gitVersion },
    data: { nodes: nodeCount, registries, results },
  });
  say(`kept as ${file}`);
}

/** One image to all nodes. Without a width: as shipped. */
async function measure(
  kit: Kit,
  width: number | undefined,
  { name: registry, rate }: (typeof REGISTRIES)[number],
): Promise<FanoutResult> {
  if (!fronts || !ips) throw new Error('not started');
  const front = await fronts.open(kit.cluster.registry, 'pass');
  if (rate) await front.meter(rate);
  const name = unique('fan');
  const image = await pushTestImage(kit.cluster, `${name}:1`, 1_000_000);
  const annotations = { ...PREWARM, ...(width ? { 'ips/concurrent-pulls': String(width) } : {}) };
  const failures = () => ips?.metric('ips_pull_failures_total', 'reason="rate limited"');
  const jobs = () => ips?.metric('ips_job_creation_total', 'result="created"');
  const [failedBefore = 0, jobsBefore = 0] = [await failures(), await jobs()];
  const started = performance.now();
  const images = [image.replace(/^[^/]+/, front.host)];
  await kit.apply(deployment(name, { annotations, replicas: 0, images }));
  const warm = await kit
    .status(`deployment/${name}`, new RegExp(`^Warm ${nodeCount}/${nodeCount} nodes`), LIMIT_SECONDS * 1000)
    .then(() => true)
    .catch(() => false);
  const seconds = (performance.now() - started) / 1000;
  const requests = await front.requests();
  const result: FanoutResult = {
    ...{ registry, width: width ?? 'as shipped', warm, seconds },
    failedPulls: ((await failures()) ?? 0) - failedBefore,
    batches: ((await jobs()) ?? 0) - jobsBefore,
    requests: requests.length,
    refused: requests.filter(({ limited }) => limited).length,
  };
  say(`${registry}, width ${result.width}: ${JSON.stringify(result)}`);
  await kit.kubectl(['delete', 'deployment', name]);
  return result;
}
