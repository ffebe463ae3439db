import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';

/** IPS beside whoever else writes a Deployment: kubectl in each of its ways, and tools that compare and apply again. */
let kit: Kit;
let ips: Ips;
let images: { first: string; second: string };

beforeAll(async () => {
  kit = await createKit('gitops');
  ips = await startIps(kit.cluster);
  const push = (name: string) => pushTestImage(kit.cluster, `${unique(name)}:1`, 1_000_000);
  images = { first: await push('first'), second: await push('second') };
});

afterAll(async () => {
  await ips?.stop();
  await kit?.remove();
});

const SERVER_SIDE = ['--server-side', '--field-manager=gitops'];
/** Where no phase changed IPS writes 10 s after its last time; the rest is for a slow machine. */
const CORRECTED_MS = 20_000;

const manifest = (name: string, image = images.first) =>
  deployment(name, { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES });

const stored = (name: string) => kit.get<KubernetesObject>('deployment', name);

/** What `kubectl diff` prints: nothing where the cluster has what the manifest says. */
async function drift(object: object, args: string[] = []): Promise<string> {
  return kit
    .kubectl(['diff', '-f', '-', ...args], JSON.stringify(object))
    .catch((error: { code: number; stdout: string; message: string }) => {
      if (error.code === 1 && error.stdout) return error.stdout;
      throw error;
    });
}

type Fields = { 'f:metadata'?: Record<string, Record<string, object>>; 'f:spec'?: object };

/** The annotations and labels that each writer owns on a Deployment. */
async function ownedMetadata(name: string): Promise<Record<string, string[]>> {
  type Entry = { manager: string; fieldsV1: Fields; subresource?: string };
  const text = await kit.kubectl(['get', 'deployment', name, '-o', 'json', '--show-managed-fields']);
  const { managedFields } = (JSON.parse(text) as { metadata: { managedFields: Entry[] } }).metadata;
  const owned: Record<string, string[]> = {};
  for (const { manager, fieldsV1 } of managedFields.filter((entry) => !entry.subresource)) {
    const { 'f:annotations': annotations = {}, 'f:labels': labels = {} } = fieldsV1['f:metadata'] ?? {};
    const keys = [...Object.keys(annotations), ...Object.keys(labels)].filter((key) => key !== '.');
    owned[manager] = [...(owned[manager] ?? []), ...keys.map((key) => key.slice(2))].sort();
  }
  return owned;
}

test('what IPS writes is its own, no drift to whoever applied the Deployment, and applying again writes nothing', async () => {
  await kit.apply(manifest('threeway'));
  await kit.apply(manifest('serverside'), SERVER_SIDE);
  await kit.status('deployment/threeway', /^Warm 2\/2 nodes$/);
  await kit.status('deployment/serverside', /^Warm 2\/2 nodes$/);

  const outputs = ['ips/last-warmed', 'ips/status', 'ips/task'];
  expect((await ownedMetadata('threeway'))['ips']).toEqual(outputs);
  const { ips: own, gitops } = await ownedMetadata('serverside');
  expect(own).toEqual(outputs);
  expect(gitops).toContain('ips/prewarm');
  expect(gitops).not.toContain('ips/status');

  for (const [name, args] of [
    ['threeway', []],
    ['serverside', SERVER_SIDE],
  ] as const) {
    const before = (await stored(name)).metadata;
    expect(await drift(manifest(name), [...args])).toBe('');
    // Without --force-conflicts: nobody else claims a field of the manifest.
    for (let time = 0; time < 3; time += 1) await kit.apply(manifest(name), [...args]);
    const after = (await stored(name)).metadata;
    expect(after.resourceVersion).toBe(before.resourceVersion);
    expect(after.labels).toEqual({ 'ips/prewarm': 'true' });
  }
});

test('a dry run of a server-side apply answers with what would be stored, and stores nothing', async () => {
  const before = (await stored('serverside')).metadata;
  const answer = await kit.apply(manifest('serverside', images.second), [
    ...[...SERVER_SIDE, '--dry-run=server', '-o', 'json'],
  ]);
  expect((JSON.parse(answer) as KubernetesObject).metadata.labels).toEqual({ 'ips/prewarm': 'true' });
  expect((await stored('serverside')).metadata).toEqual(before);
});

test('kubectl replace takes label and annotations away: the label is back at once, the rest within seconds', async () => {
  const before = (await stored('threeway')).metadata;
  await kit.kubectl(['replace', '-f', '-'], JSON.stringify(manifest('threeway')));
  const replaced = (await stored('threeway')).metadata;
  expect(replaced.labels).toEqual({ 'ips/prewarm': 'true' });
  const annotations = await kit.status('deployment/threeway', /^Warm 2\/2 nodes$/, CORRECTED_MS);
  expect(annotations).toMatchObject({
    ...PREWARM,
    'ips/status': 'Warm 2/2 nodes',
    'ips/task': before.annotations?.['ips/task'],
    'ips/last-warmed': before.annotations?.['ips/last-warmed'],
  });
});

test('kubectl rollout undo brings old annotations back: they are corrected within seconds', async () => {
  const name = `${unique('late')}:1`;
  const late = `${kit.cluster.registry.host}/${name}`;
  await kit.apply(manifest('undone', late));
  const failed = await kit.status('deployment/undone', /^Failed 0\/2 nodes/);
  expect(failed['ips/message']).toBe(`${late}: not found on 2 nodes`);
  await kit.apply(manifest('undone'));
  await kit.status('deployment/undone', /^Warm 2\/2 nodes$/);
  await pushTestImage(kit.cluster, name, 1_000_000);

  const watch = kit.watch(
    'deployment/undone',
    'VERSION:.metadata.resourceVersion,STATUS:.metadata.annotations.ips/status',
  );
  try {
    await waitFor('the watch to begin', async () => watch.rows().some((row) => row.includes('Warm')));
    await kit.kubectl(['rollout', 'undo', 'deployment/undone']);
    await waitFor('the annotations to be true', async () => {
      const { annotations = {} } = (await stored('undone')).metadata;
      const told = annotations['ips/status'] === 'Warm 2/2 nodes' && !annotations['ips/message'];
      return told && (await imageOf('undone')) === late;
    });
    // What came back was the word of the time when the image was not there.
    expect(watch.rows().map(([, phase]) => phase)).toContain('Failed');
  } finally {
    watch.stop();
  }
  expect(await kit.nodesWith(late)).toEqual(['node-a', 'node-b']);
});

test('after all this nobody writes: a fight would go on', async () => {
  const names = ['threeway', 'serverside', 'undone'];
  const versions = () =>
    Promise.all(names.map(async (name) => (await stored(name)).metadata.resourceVersion));
  // Twice the 10 s within which IPS writes once.
  await kit.apply(manifest('threeway'));
  const before = await versions();
  await sleep(21_000);
  expect(await versions()).toEqual(before);
  for (const name of names) expect(await drift(manifest(name, await imageOf(name)))).toBe('');
});

async function imageOf(name: string): Promise<string> {
  return kit.kubectl(['get', 'deployment', name, '-o', 'jsonpath={.spec.template.spec.containers[0].image}']);
}
