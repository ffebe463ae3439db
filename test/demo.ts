import { setTimeout as sleep } from 'node:timers/promises';
import type { KubernetesObject } from '../src/domain/kubernetes.ts';
import {
  type Cluster,
  imagesOn,
  kubectl,
  NODES,
  pushTestImage,
  startCluster,
  stopCluster,
} from './cluster/cluster.ts';
import { givenCluster } from './cluster/given.ts';
import { waitFor } from './cluster/run.ts';
import { sandboxObstacle } from './cluster/sandbox.ts';
import { type Ips, installIps, startIps } from './e2e/ips.ts';

/**
 * The main job, on a real cluster: a Deployment of a 500 MB image starts cold, then the same one annotated, whose
 * scale-up finds the image on every node that may run it.
 */

const IMAGE_BYTES = 500_000_000;
const NAMESPACE = 'demo';
const started = Date.now();

function say(line: string): void {
  const seconds = ((Date.now() - started) / 1000).toFixed(1).padStart(5);
  console.log(`${seconds} s  ${line}`);
}

type Pod = KubernetesObject & {
  spec: { nodeName: string };
  status: { conditions?: { type: string; status: string; lastTransitionTime: string }[] };
};
type Event = KubernetesObject & { message: string; involvedObject: { name: string } };

let cluster: Cluster | undefined;
let given: Cluster | undefined;
let ips: Ips | undefined;

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    say('interrupted: cleaning up');
    void cleanUp().then(() => process.exit(130));
  });
}

try {
  await demo();
} catch (error) {
  console.error(`demo: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  await cleanUp();
}

async function demo(): Promise<void> {
  const obstacle = await sandboxObstacle();
  if (obstacle) throw new Error(`the demo needs a real cluster, which cannot run here: ${obstacle}`);
  say('starting a real Kubernetes cluster');
  given = await givenCluster(say);
  cluster = given ?? (await startCluster({ name: `demo-${process.pid}`, lifeline: true, say }));
  for (const { name, labels, taints } of NODES) {
    say(
      `  ${name}: ${JSON.stringify(labels)}${taints.length > 0 ? `, tainted ${JSON.stringify(taints)}` : ''}`,
    );
  }
  await installIps(cluster);
  ips = await startIps(cluster);
  say('IPS is running beside it');
  await kubectl(cluster, ['delete', 'namespace', NAMESPACE, '--ignore-not-found']);
  await kubectl(cluster, ['create', 'namespace', NAMESPACE]);
  const stamp = Date.now().toString(36);
  say('making two images of 500 MB');
  const coldImage = await pushTestImage(cluster, `cold-${stamp}:1`, IMAGE_BYTES, { executable: 'trace' });
  const warmImage = await pushTestImage(cluster, `warm-${stamp}:1`, IMAGE_BYTES, { executable: 'trace' });

  say('--- without IPS: a Deployment on nodes with pool=web, scaled up');
  await apply('cold', coldImage, {});
  const cold = await readyTimes('cold');

  say('--- with IPS: the same, and one annotation: ips/prewarm: "true" (one replica)');
  const applied = Date.now();
  await apply('warm', warmImage, { 'ips/prewarm': 'true' });
  const warmAfter = await followStatus(cluster, applied);
  const pulls = await pullSeconds(cluster, warmImage);
  say(
    `apply to warm: ${warmAfter.toFixed(1)} s; the kubelets' own figure for the slowest pull: ${Math.max(...pulls).toFixed(1)} s`,
  );
  say(`IPS on top of the pull: ${(warmAfter - Math.max(...pulls)).toFixed(1)} s`);
  for (const { name, labels } of NODES) {
    const there = (await imagesOn(cluster, name)).includes(warmImage);
    say(`  ${name}: ${there ? 'has the image' : 'does not have it'} (asked containerd)`);
    if (there !== (labels['pool'] === 'web'))
      throw new Error(`${name} should ${there ? 'not ' : ''}have the image`);
  }
  const first = await podNames('warm');
  say('--- the scale-up, from 1 to 4 replicas');
  await kubectl(cluster, ['--namespace', NAMESPACE, 'scale', 'deployment/warm', '--replicas=4']);
  const warm = await readyTimes('warm', first);
  const story = await kubectl(cluster, ['--namespace', NAMESPACE, 'describe', 'deployment', 'warm']);
  console.log(`\n$ kubectl describe deployment warm\n${excerpt(story)}`);
  console.log(`\n$ kubectl get pwt\n${await kubectl(cluster, ['--namespace', NAMESPACE, 'get', 'pwt'])}`);
  console.log('Scale-up to Ready (s)      cold (pulls)   warm (prewarmed)');
  console.log(`  fastest                  ${cell(Math.min(...cold))}   ${cell(Math.min(...warm))}`);
  console.log(`  slowest                  ${cell(Math.max(...cold))}   ${cell(Math.max(...warm))}\n`);
  say('done');
}

function cell(seconds: number): string {
  return seconds.toFixed(1).padStart(12);
}

async function apply(name: string, image: string, annotations: Record<string, string>): Promise<void> {
  const object = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: NAMESPACE, annotations },
    spec: {
      replicas: name === 'cold' ? 2 : 1,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          terminationGracePeriodSeconds: 0,
          nodeSelector: { pool: 'web' },
          topologySpreadConstraints: [
            {
              ...{ maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'DoNotSchedule' },
              labelSelector: { matchLabels: { app: name } },
            },
          ],
          containers: [{ name: 'app', image }],
        },
      },
    },
  };
  await kubectl(must(cluster), ['apply', '-f', '-'], JSON.stringify(object));
}

/** Shows each new `ips/status` until the Deployment is warm; gives the seconds since `applied`. */
async function followStatus(at: Cluster, applied: number): Promise<number> {
  let last = '';
  const path = 'jsonpath={.metadata.annotations.ips/status}';
  await waitFor('the Deployment to be warm', async () => {
    const status = await kubectl(at, ['--namespace', NAMESPACE, 'get', 'deployment', 'warm', '-o', path]);
    if (status && status !== last) say(`  ips/status: ${status}`);
    last = status;
    return status.startsWith('Warm ');
  });
  return (Date.now() - applied) / 1000;
}

/** What the kubelets say of each pull of an image, in seconds, waiting for another pull included. */
async function pullSeconds(at: Cluster, image: string): Promise<number[]> {
  const text = await kubectl(at, [
    '--namespace',
    NAMESPACE,
    'get',
    'events',
    '--field-selector',
    'reason=Pulled',
    '-o',
    'json',
  ]);
  const { items } = JSON.parse(text) as { items: Event[] };
  return items.flatMap(({ message }) => {
    const [, took = ''] = message.includes(image) ? (/ in (\S+) \(/.exec(message) ?? []) : [];
    return took ? [seconds(took)] : [];
  });
}

/** Go's notation of a duration: `1m2.5s`, `846ms`. */
function seconds(text: string): number {
  const units: Record<string, number> = { m: 60, s: 1, ms: 0.001 };
  const parts = [...text.matchAll(/([\d.]+)(ms|m|s)/g)];
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (units[unit ?? ''] ?? 0), 0);
}

async function pods(name: string): Promise<Pod[]> {
  const text = await kubectl(must(cluster), [
    '--namespace',
    NAMESPACE,
    'get',
    'pods',
    '--selector',
    `app=${name}`,
    '-o',
    'json',
  ]);
  return (JSON.parse(text) as { items: Pod[] }).items;
}

async function podNames(name: string): Promise<Set<string>> {
  return new Set((await pods(name)).map((pod) => pod.metadata.name ?? ''));
}

/** Waits until the pods are ready, watching closely, since Kubernetes' own times have whole seconds only. */
async function readyTimes(name: string, except = new Set<string>()): Promise<number[]> {
  const times = new Map<string, number>();
  const from = Date.now();
  for (;;) {
    const wanted = (await pods(name)).filter((pod) => !except.has(pod.metadata.name ?? ''));
    for (const pod of wanted) {
      const ready = pod.status.conditions?.some(
        (condition) => condition.type === 'Ready' && condition.status === 'True',
      );
      const podName = pod.metadata.name ?? '';
      if (!ready || times.has(podName)) continue;
      times.set(podName, (Date.now() - from) / 1000);
      say(`  ${podName} is ready on ${pod.spec.nodeName} after ${((Date.now() - from) / 1000).toFixed(1)} s`);
    }
    if (wanted.length > 0 && times.size === wanted.length) return [...times.values()];
    if (Date.now() - from > 60_000) throw new Error(`the pods of ${name} were not ready within 60 s`);
    await sleep(50);
  }
}

/** The lines of `kubectl describe` that IPS is about. */
function excerpt(text: string): string {
  const lines = text.split('\n');
  const events = lines.findIndex((line) => line.startsWith('Events:'));
  const head = lines.slice(0, events).filter((line) => /^Name:|ips\//.test(line));
  return [...head, ...lines.slice(events)].join('\n').trimEnd();
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the cluster is not there yet');
  return value;
}

async function cleanUp(): Promise<void> {
  await ips?.stop();
  ips = undefined;
  if (cluster && !given) await stopCluster(cluster);
  cluster = undefined;
}
