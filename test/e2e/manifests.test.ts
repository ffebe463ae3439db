import { mkdtemp, readdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { type Cluster, kubectl } from '../cluster/cluster.ts';
import { DEPLOY, defineOthersResources } from './installed.ts';
import { testCluster } from './kit.ts';

let cluster: Cluster;

beforeAll(async () => {
  cluster = await testCluster();
  await defineOthersResources(cluster);
});

const components = await readdir(join(DEPLOY, 'components'));

test.each([
  { title: 'deploy/', components: [] },
  ...components.map((name) => ({ title: `deploy/ with components/${name}`, components: [name] })),
  { title: 'deploy/ with all components', components },
])('$title passes the strict validation of the API server', async ({ components }) => {
  const folder = await mkdtemp(join(cluster.folder, 'manifests-'));
  const kustomization = {
    resources: [relative(folder, DEPLOY)],
    components: components.map((name) => relative(folder, join(DEPLOY, 'components', name))),
  };
  await writeFile(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
  const checked = await kubectl(cluster, ['apply', '--dry-run=server', '--validate=strict', '-k', folder]);
  const objects = (await kubectl(cluster, ['kustomize', folder])).split('\n---\n');
  expect(checked.trim().split('\n')).toHaveLength(objects.length);
});
