import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { pushTestImage } from '../cluster/cluster.ts';
import { startKwok } from '../cluster/components.ts';
import { addFakeNodes } from '../cluster/fake-nodes.ts';
import { seeded } from '../seeded.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, STRATEGIES, unique, WEB_NODES } from './kit.ts';
import { type Witness, witness } from './witness.ts';

/** Nodes that kwok plays make long rounds of many batches; the real ones have pulls, and one that fails and is tried again. */
const COUNT = 30;
const SEED = Number(process.env['IPS_TEST_SEED'] ?? randomInt(2 ** 31));
const POOL = unique('restart');

let kit: Kit;
let ips: Ips;
let seen: Witness;
let stopKwok: () => Promise<void>;
const others: Ips[] = [];

beforeAll(async () => {
  console.error(`• moments by IPS_TEST_SEED=${SEED}`);
  kit = await createKit('restart');
  stopKwok = await startKwok(kit.cluster);
  await addFakeNodes(kit.cluster, POOL, COUNT);
  seen = await witness(kit);
  ips = await startIps(kit.cluster);
});

afterAll(async () => {
  seen?.stop();
  for (const each of others) await each.kill();
  await ips?.stop();
  await kit?.kubectl(['delete', 'nodes', '--selector', `pool=${POOL}`, '--wait=false']);
  await kit?.remove();
  await stopKwok?.();
});

/** Moments from 0 to so many ms. */
const moment = seeded(SEED).below;

/** A round of many small batches, and one in which a pull fails that is tried again. */
async function startRounds(name: string): Promise<string> {
  const unreachable = `127.0.0.1:1/${unique(name)}:1`;
  const real = await pushTestImage(kit.cluster, `${unique(name)}:1`, 20_000_000);
  const retries = { 'ips/retry-limit': '2', 'ips/retry-strategy': 'linear' };
  const annotations = { ...PREWARM, 'ips/concurrent-pulls': '2' };
  const spec = { nodeSelector: { pool: POOL } };
  const images = [`registry.invalid/${unique(name)}:1`];
  await kit.apply(deployment(`${name}-fleet`, { annotations, replicas: 0, images, spec }));
  await kit.apply(
    deployment(`${name}-real`, {
      annotations: { ...PREWARM, ...retries },
      replicas: 0,
      images: [real, unreachable],
      spec: WEB_NODES,
    }),
  );
  await kit.status(`deployment/${name}-fleet`, /^Warming/);
  return unreachable;
}

async function isWarming(name: string): Promise<boolean> {
  return (await kit.tasks()).some(
    ({ metadata, status }) =>
      metadata.ownerReferences?.[0]?.name.startsWith(name) && status?.phase === 'Warming',
  );
}

async function roundsEnd(name: string, unreachable: string): Promise<void> {
  await kit.status(`deployment/${name}-fleet`, /^Warm 30\/30 nodes$/);
  const real = await kit.status(`deployment/${name}-real`, /^PartiallyFailed 0\/2 nodes/);
  expect(real['ips/message']).toBe(`${unreachable}: registry unreachable on 2 nodes`);
}

test('killed at random moments, IPS ends its rounds after the restart, and no node has the same work twice', async () => {
  const jobs = kit.watch('jobs', 'INIT:.spec.template.spec.initContainers[*].name');
  onTestFinished(jobs.stop);
  const unreachable = await startRounds('killed');
  let inTheMiddle = 0;
  for (let kills = 0; kills < 8; kills += 1) {
    // From the moment it listens: some die while they are still reading what there is.
    await sleep(moment(3000));
    await ips.kill();
    if (await isWarming('killed')) inTheMiddle += 1;
    // What the one before began by one strategy, this one goes on with by the other. The first, which lived until it had
    // begun, was of the first strategy; the last, which lives to the end, is of the other.
    const env = { PULL_STRATEGY: STRATEGIES[kills % STRATEGIES.length] ?? '' };
    ips = await startIps(kit.cluster, { webhookPort: ips.webhookPort, webhook: false, env });
  }
  await roundsEnd('killed', unreachable);
  console.error(`• ${inTheMiddle} of 8 kills in the middle of the round, ${seen.jobs()} Jobs`);
  expect(inTheMiddle).toBeGreaterThanOrEqual(4);
  expect([...new Set(jobs.rows().map(([init]) => init))].sort()).toEqual(['<none>', 'noop']);
  expect(seen.overlaps()).toEqual([]);
}, 300_000);

test('one that was stopped and goes on beside its successor does no work twice', async () => {
  const unreachable = await startRounds('stopped');
  let inTheMiddle = 0;
  for (let turns = 0; turns < 3; turns += 1) {
    await sleep(moment(2000));
    const old = ips;
    others.push(old);
    old.freeze();
    ips = await startIps(kit.cluster);
    await sleep(moment(3000));
    if (await isWarming('stopped')) inTheMiddle += 1;
    old.thaw();
    await sleep(1000 + moment(3000));
    await old.kill();
  }
  await roundsEnd('stopped', unreachable);
  console.error(`• ${inTheMiddle} of 3 turns in the middle of the round, ${seen.jobs()} Jobs`);
  expect(inTheMiddle).toBeGreaterThanOrEqual(2);
  expect(seen.overlaps()).toEqual([]);
}, 300_000);

test('the witness sees two Jobs that do the same work, by whichever strategy', async () => {
  const worker = { name: 'warm', image: 'registry.invalid/worker:1' };
  const byVolume = (image: string) => ({
    containers: [worker],
    volumes: [{ name: 'image-0', image: { reference: image } }],
  });
  const byContainer = (image: string) => ({
    containers: [
      { ...worker, name: 'wake' },
      { name: 'image-0', image },
    ],
  });
  const job = (name: string, spec: object) => ({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, labels: { 'ips/warmer': 'true', 'ips/task': 'twins' } },
    spec: {
      suspend: true,
      template: {
        metadata: { annotations: { 'ips/nodes': 'node-a,node-b' } },
        spec: { restartPolicy: 'Never', ...spec },
      },
    },
  });
  const [volumes, containers, mixed] = ['volumes', 'containers', 'mixed'].map(
    (name) => `registry.invalid/${name}:1`,
  ) as [string, string, string];
  // Of different images first: what they share is the worker alone.
  await kit.apply(job('volume-1', byVolume(volumes)));
  await kit.apply(job('container-1', byContainer(containers)));
  await kit.apply(job('mixed-1', byVolume(mixed)));
  await kit.apply(job('mixed-2', byContainer(mixed)));
  await kit.apply(job('container-2', byContainer(containers)));
  await kit.apply(job('volume-2', byVolume(volumes)));
  await expect
    .poll(() => seen.overlaps(), { timeout: 60_000 })
    .toEqual(
      ['mixed-1 and mixed-2', 'container-1 and container-2', 'volume-1 and volume-2'].map(
        (names) => `Jobs ${names} on node-a, node-b`,
      ),
    );
});
