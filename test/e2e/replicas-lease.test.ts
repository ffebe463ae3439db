import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Lease } from '../../src/domain/kubernetes.ts';
import { kubectl, pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';
import { oneTaskEach } from './main-job.suite.ts';
import { type Replica, type Replicas, startReplicas } from './replicas.ts';

/** Three replicas without Redis: the one that has the Lease does the work. */

const LEASE = join(import.meta.dirname, '../../deploy/base/lease.yaml');

let kit: Kit;
let replicas: Replicas;

beforeAll(async () => {
  kit = await createKit('lease');
  await kubectl(kit.cluster, ['apply', '-f', LEASE]);
  replicas = await startReplicas(kit.cluster, { count: 3, env: { COORDINATION: 'lease' } });
});

afterAll(async () => {
  await replicas?.stop();
  await kit?.remove();
});

oneTaskEach(() => ({ kit, metric: replicas.metric }));

/** By what they did. */
async function leaders(): Promise<Replica[]> {
  const running = replicas.all.filter((each) => each.running);
  const made = await Promise.all(
    running.map(({ ips }) => ips.metric('ips_job_creation_total', 'result="created"')),
  );
  return running.filter((_, index) => (made[index] ?? 0) > 0);
}

async function warmNew(name: string): Promise<void> {
  const image = await pushTestImage(kit.cluster, `${unique(name)}:1`, 1_000_000);
  await kit.apply(deployment(name, { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }));
  await kit.status(`deployment/${name}`, /^Warm 2\/2 nodes$/);
}

test('one replica did it all, and another goes on when that ends', async () => {
  const [leader, ...others] = await leaders();
  expect(others).toEqual([]);
  expect(await leader?.stop()).toBe(0);
  await warmNew('next');
  expect(await leaders()).toHaveLength(1);
  await waitFor('the others to say that all is well', async () => {
    const answers = await Promise.all(
      replicas.all.filter((each) => each.running).map(({ ips }) => fetch(`${ips.url}/readyz`)),
    );
    const texts = await Promise.all(answers.map((answer) => answer.text()));
    return texts.every((text) => /"coordination":"ok"/.test(text));
  });
});

async function leaseNow(): Promise<{ holder: string; renewedMs: number; acquiredMs: number }> {
  const text = await kubectl(kit.cluster, ['get', 'lease', 'ips', '-n', 'ips-system', '-o', 'json']);
  const { spec } = JSON.parse(text) as Lease;
  const at = (time: string | null | undefined) => Date.parse(time ?? '');
  return {
    holder: spec?.holderIdentity ?? '',
    renewedMs: at(spec?.renewTime),
    acquiredMs: at(spec?.acquireTime),
  };
}

test('another takes over half a minute after the last sign of life of one that died', async () => {
  const [leader] = await leaders();
  await leader?.kill();
  const before = await leaseNow();
  const killedMs = performance.now();
  await warmNew('last');
  const after = await leaseNow();
  const seconds = (after.acquiredMs - before.renewedMs) / 1000;
  const ended = (performance.now() - killedMs) / 1000;
  console.error(
    `• taken over ${seconds.toFixed(1)} s after the last sign of life, warm ${ended.toFixed(1)} s later than the kill`,
  );
  expect(after.holder).not.toBe(before.holder);
  expect(seconds).toBeGreaterThanOrEqual(30);
  expect(seconds).toBeLessThan(60);
});
