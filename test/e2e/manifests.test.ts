import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { type Cluster, kubectl } from '../cluster/cluster.ts';
import { run } from '../cluster/run.ts';
import { DEPLOY } from './installed.ts';
import { testCluster } from './kit.ts';

/** Where the custom resources of others, which the components are made of, are defined: in their Go modules. */
const DEFINITIONS = [
  {
    module: 'github.com/cert-manager/cert-manager@v1.18.2',
    files: /deploy\/crds\/crd-(certificates|issuers)\.yaml$/,
  },
  {
    module: 'github.com/prometheus-operator/prometheus-operator@v0.85.0',
    files:
      /example\/prometheus-operator-crd\/monitoring.coreos.com_(prometheusrules|servicemonitors|podmonitors)\.yaml$/,
  },
];

let cluster: Cluster;

beforeAll(async () => {
  cluster = await testCluster();
  for (const { module, files } of DEFINITIONS) await applyDefinitions(module, files);
});

async function applyDefinitions(module: string, files: RegExp): Promise<void> {
  const { Dir } = JSON.parse(await run('go', ['mod', 'download', '-json', module])) as { Dir: string };
  const names = await readdir(Dir, { recursive: true });
  for (const name of names.filter((each) => files.test(each))) {
    const definition = parseAllDocuments(await readFile(join(Dir, name), 'utf8'))[0]?.toJS();
    // Their labels are templates of a Helm chart.
    definition.metadata = { name: definition.metadata.name };
    await kubectl(cluster, ['apply', '--server-side', '-f', '-'], JSON.stringify(definition));
    await kubectl(cluster, ['wait', '--for=condition=Established', `crd/${definition.metadata.name}`]);
  }
}

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
