import { cp, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
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
const overlays = await readdir(join(DEPLOY, 'overlays'));
/** One an overlay has already, and the other comes in its place. */
const others = components.filter((name) => !['redis', 'lease'].includes(name));

async function passes(folder: string): Promise<void> {
  const checked = await kubectl(cluster, ['apply', '--dry-run=server', '--validate=strict', '-k', folder]);
  const objects = (await kubectl(cluster, ['kustomize', folder])).split('\n---\n');
  expect(checked.trim().split('\n')).toHaveLength(objects.length);
}

test.each([
  { title: 'deploy/', resource: '.', components: [] },
  ...components.map((name) => ({
    ...{ title: `deploy/ with components/${name}`, resource: '.', components: [name] },
  })),
  { title: 'deploy/ with all components', resource: '.', components },
  ...overlays.flatMap((name) => [
    { title: `deploy/overlays/${name}`, resource: `overlays/${name}`, components: [] },
    {
      ...{ title: `deploy/overlays/${name} with all other components` },
      ...{ resource: `overlays/${name}`, components: others },
    },
  ]),
])('$title passes the strict validation of the API server', async ({ resource, components }) => {
  const folder = await mkdtemp(join(cluster.folder, 'manifests-'));
  const kustomization = {
    resources: [relative(folder, join(DEPLOY, resource))],
    components: components.map((name) => relative(folder, join(DEPLOY, 'components', name))),
  };
  await writeFile(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
  await passes(folder);
});

test('so does deploy/overlays/ha with the Lease in the place of Redis, as docs/high-availability.md has it', async () => {
  const folder = await mkdtemp(join(cluster.folder, 'manifests-'));
  await cp(DEPLOY, folder, { recursive: true });
  const overlay = join(folder, 'overlays/ha');
  const file = join(overlay, 'kustomization.yaml');
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace('- ../../components/redis', '- ../../components/lease'));
  await passes(overlay);
  const built = await kubectl(cluster, ['kustomize', overlay]);
  expect(built).toContain('COORDINATION: lease');
  expect(built).not.toMatch(/redis/i);
});
