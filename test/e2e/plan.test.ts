import { afterAll, beforeAll, expect, test } from 'vitest';
import { ips as plan } from '../cli/process.ts';
import { pushTestImage } from '../cluster/cluster.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';

/** What `ips plan` says before is what IPS then does. */

type Plan = {
  workloads: {
    prewarmed: boolean;
    task: string;
    images: { image: string }[];
    nodes: { name: string; batch?: number; strategyAssumed: boolean }[];
    skipped: { node: string; reason: string }[];
    jobs: { spec: { template: { spec: object } } }[];
  }[];
};

let kit: Kit;
let ips: Ips;

beforeAll(async () => {
  kit = await createKit('plan');
  ips = await startIps(kit.cluster);
});

afterAll(async () => {
  await ips?.stop();
  await kit?.remove();
});

async function planned(
  object: object,
  args: string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Plan['workloads'][number]> {
  const { code, stdout, stderr } = await plan(
    ['plan', '-f', '-', '-n', kit.namespace, '-o', 'json', ...args],
    {
      input: JSON.stringify(object),
      env: { PULL_STRATEGY: process.env['PULL_STRATEGY'], ...env },
    },
  );
  expect([code, stderr]).toEqual([0, '']);
  const [only] = (JSON.parse(stdout) as Plan).workloads;
  if (!only) throw new Error('nothing was planned');
  return only;
}

test('the nodes of the plan, from the cluster or from a file of it, are the nodes that get the images, and no others', async () => {
  const image = await pushTestImage(kit.cluster, `${unique('planned')}:1`, 1_000_000);
  const object = deployment('web', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES });
  const nodes = await kit.kubectl(['get', 'nodes', '-o', 'json']);
  const context = (await kit.kubectl(['config', 'current-context'])).trim();
  const file = kit.cluster.kubeconfigFile;

  const asked = await planned(object, ['--context', context, '--kubeconfig', file]);
  const names = asked.nodes.map(({ name }) => name);
  expect(asked.prewarmed).toBe(true);
  expect(asked.images).toMatchObject([{ image }]);
  expect(asked.nodes.every(({ batch, strategyAssumed }) => batch === 1 && !strategyAssumed)).toBe(true);
  expect(asked.skipped).toEqual([{ node: 'node-c', reason: 'node selector pool=web does not match' }]);

  // As kubectl finds the kubeconfig, and its current context.
  const { stdout } = await plan(['plan', '-f', '-', '--context', context, '-o', 'json'], {
    input: JSON.stringify(object),
    env: { KUBECONFIG: `/does/not/exist:${file}` },
  });
  expect((JSON.parse(stdout) as Plan).workloads[0]?.nodes).toEqual(asked.nodes);

  const list = JSON.parse(nodes) as { items: object[] };
  const both = { kind: 'List', items: [object, ...list.items] };
  expect((await planned(both, [])).nodes).toEqual(asked.nodes);

  await kit.apply(object);
  await kit.status('deployment/web', /^Warm 2\/2 nodes$/);
  expect(await kit.nodesWith(image)).toEqual(names);
  // The name needs only what the API server does not change: not so for images that are pulled at every start.
  expect((await kit.tasks()).map(({ metadata }) => metadata.name)).toEqual([asked.task]);
});

test('a RuntimeClass is asked for by its name', async () => {
  const name = unique('sandbox');
  const object = deployment('sandboxed', { images: ['nginx:1'], spec: { runtimeClassName: name } });
  const args = ['--kubeconfig', kit.cluster.kubeconfigFile];
  expect((await planned(object, args)).skipped).toContainEqual({
    ...{ node: 'node-a', reason: `RuntimeClass ${name} not found` },
  });
  const runtimeClass = {
    ...{ apiVersion: 'node.k8s.io/v1', kind: 'RuntimeClass', metadata: { name }, handler: 'runc' },
    scheduling: { nodeSelector: { pool: 'batch' }, tolerations: [{ key: 'dedicated', operator: 'Exists' }] },
  };
  await kit.apply(runtimeClass);
  try {
    expect((await planned(object, args)).nodes.map((node) => node.name)).toEqual(['node-c']);
  } finally {
    await kit.kubectl(['delete', 'runtimeclass', name]);
  }
});
