import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { parseAllDocuments } from 'yaml';
import { type Cluster, kubectl } from '../cluster/cluster.ts';
import { run, waitFor } from '../cluster/run.ts';
import { type Metric, readMetric, settings } from './ips.ts';

export const DEPLOY = join(import.meta.dirname, '../../deploy');

export type Installation = {
  /** In deploy/; what an operator would apply, were the images elsewhere. */
  overlay?: string;
  components?: string[];
  /** More of the kustomization: of this cluster, not of IPS. */
  images?: object[];
  patches?: object[];
};

/** IPS as its users have it: from its image and manifests, in pods, reached through its Service. */
export async function installAsPods(
  cluster: Cluster,
  image: string,
  installation: Installation = {},
): Promise<void> {
  const folder = await kustomization(cluster, image, installation);
  await kubectl(cluster, ['apply', '--validate=strict', '-k', folder]);
}

export async function rolledOut(cluster: Cluster): Promise<void> {
  const args = ['-n', 'ips-system', 'rollout', 'status', 'deployment/ips', '--timeout=60s'];
  await waitFor('the Deployment ips to be rolled out', () => kubectl(cluster, args), { timeoutMs: 240_000 });
}

/** What a user changes: where the images are, and which custom resources start pods. */
async function kustomization(cluster: Cluster, image: string, installation: Installation): Promise<string> {
  const { overlay = '.', components = [], images = [], patches = [] } = installation;
  const folder = join(cluster.folder, 'overlay');
  await mkdir(folder, { recursive: true });
  const content = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [relative(folder, join(DEPLOY, overlay))],
    components: ['custom-workload', ...components].map((name) =>
      relative(folder, join(DEPLOY, 'components', name)),
    ),
    images: [imageOf('image-prewarm-service', image), ...images],
    patches: [{ patch: JSON.stringify(settings(cluster)) }, ...patches],
  };
  await writeFile(join(folder, 'kustomization.yaml'), JSON.stringify(content));
  return folder;
}

/** As `kustomize edit set image NAME=IMAGE`. */
export function imageOf(name: string, image: string): object {
  const colon = image.lastIndexOf(':');
  return { name, newName: image.slice(0, colon), newTag: image.slice(colon + 1) };
}

/** Asked through the API server and the Service, as Prometheus in the cluster would. */
export function metricOfPods(cluster: Cluster): Metric {
  return async (name, labels) => {
    const path = '/api/v1/namespaces/ips-system/services/ips:http/proxy/metrics';
    return readMetric(await kubectl(cluster, ['get', '--raw', path]), name, labels);
  };
}

/** Every object that the API server has, Events aside: `KIND NAMESPACE NAME`. */
export async function everything(cluster: Cluster): Promise<string[]> {
  const kinds = await kubectl(cluster, ['api-resources', '--verbs=list', '-o', 'name']);
  const listable = kinds.split('\n').filter((kind) => kind && !/^events/.test(kind));
  const columns = 'custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name';
  const args = [
    'get',
    listable.join(),
    '--all-namespaces',
    '--ignore-not-found',
    '--no-headers',
    '-o',
    columns,
  ];
  return (await kubectl(cluster, args)).split('\n').flatMap((line) => line.trim().replace(/\s+/g, ' ') || []);
}

/** What the API server says of each admission that went through without the webhook; as many as its metric counts. */
export async function failedOpen(cluster: Cluster): Promise<string[]> {
  const metrics = await kubectl(cluster, ['get', '--raw', '/metrics']);
  const count = metrics
    .split('\n')
    .filter((line) => line.startsWith('apiserver_admission_webhook_fail_open_count{'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  const log = await readFile(join(cluster.folder, 'logs/kube-apiserver.log'), 'utf8');
  const lines = log.split('\n').filter((line) => line.includes('failing open'));
  return [...lines, ...Array.from({ length: count - lines.length }, () => 'not in the log')];
}

/** IPS's HTTP port, as `kubectl port-forward` gives it to a user. */
export async function throughPortForward<T>(cluster: Cluster, use: (url: string) => Promise<T>): Promise<T> {
  const args = ['-n', 'ips-system', 'port-forward', 'service/ips', ':8080'];
  const child = spawn(cluster.binaries.path('kubectl'), args, {
    env: { ...process.env, KUBECONFIG: cluster.kubeconfigFile },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const port = /^Forwarding from 127\.0\.0\.1:(\d+)/.exec(line)?.[1];
      if (port) return await use(`http://127.0.0.1:${port}`);
    }
    throw new Error('kubectl port-forward ended at once');
  } finally {
    child.kill();
  }
}

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

export async function defineOthersResources(cluster: Cluster): Promise<void> {
  for (const { module, files } of DEFINITIONS) await applyDefinitions(cluster, module, files);
}

async function applyDefinitions(cluster: Cluster, module: string, files: RegExp): Promise<void> {
  const { Dir } = JSON.parse(await run('go', ['mod', 'download', '-json', module])) as { Dir: string };
  const names = await readdir(Dir, { recursive: true });
  for (const file of names.filter((each) => files.test(each))) {
    const definition = parseAllDocuments(await readFile(join(Dir, file), 'utf8'))[0]?.toJS();
    // Their labels are templates of a Helm chart.
    definition.metadata = { name: definition.metadata.name };
    await kubectl(cluster, ['apply', '--server-side', '-f', '-'], JSON.stringify(definition));
    const { name } = definition.metadata;
    // `kubectl wait` gives up at once where the definition has no conditions yet.
    await waitFor(`${name} to be established`, () =>
      kubectl(cluster, ['wait', '--for=condition=Established', `crd/${name}`]),
    );
  }
}

type Rule = { apiGroups?: string[]; resources?: string[]; resourceNames?: string[]; verbs: string[] };
type AuditEvent = {
  verb: string;
  objectRef?: { apiGroup?: string; resource?: string; subresource?: string };
  responseStatus?: { code: number; message?: string };
  annotations?: Record<string, string>;
};

/** What the roles of IPS's own account let it do, each as `VERB GROUP/RESOURCE`. */
export async function grantedRules(cluster: Cluster): Promise<Rule[]> {
  const read = async (args: string[]) => JSON.parse(await kubectl(cluster, [...args, '-o', 'json']));
  const clusterRole = (await read(['get', 'clusterrole', 'ips'])) as { rules: Rule[] };
  const roles = (await read(['-n', 'ips-system', 'get', 'roles'])) as { items: { rules: Rule[] }[] };
  return [clusterRole, ...roles.items].flatMap(({ rules }) => rules);
}

export function usesOf(rules: Rule[]): string[] {
  return rules.flatMap(({ apiGroups = [], resources = [], verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`)),
    ),
  );
}

/** What IPS's own account asked of the API server, and what it was refused. */
export async function auditOf(cluster: Cluster): Promise<{ used: Set<string>; refused: string[] }> {
  const lines = (await readFile(join(cluster.folder, 'logs/audit.log'), 'utf8')).split('\n').filter(Boolean);
  const events = lines.map((line) => JSON.parse(line) as AuditEvent).filter(({ objectRef }) => objectRef);
  const use = ({ verb, objectRef: { apiGroup = '', resource, subresource } = {} }: AuditEvent) =>
    `${verb} ${apiGroup}/${resource}${subresource ? `/${subresource}` : ''}`;
  const refused = events.filter(
    ({ annotations }) => annotations?.['authorization.k8s.io/decision'] === 'forbid',
  );
  return { used: new Set(events.map(use)), refused: refused.map(use) };
}
