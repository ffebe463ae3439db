import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Cluster,
  type ExtraFlags,
  kubectl,
  PRIVATE_CREDENTIALS,
  pushTestImage,
  type TestNode,
} from './cluster.ts';
import { kubeconfig } from './pki.ts';
import { startDetached, waitFor } from './run.ts';
import { endInside, enter } from './sandbox.ts';

const CONFIG = join(import.meta.dirname, 'config');
/** bcrypt of the password in PRIVATE_CREDENTIALS, which opens nothing but a throw-away registry. */
const PRIVATE_PASSWORD_HASH = '$2b$05$4fXLFa7l04bg7ol4cHfrReU.NF7iN2VbeucbBw8yXmxP5b8lIeHZO';
const SERVICE_CIDR = '10.96.0.0/16';
const POD_CIDR = '10.88.0.0/16';

/** Starts every process of the cluster, each in the order that those after it need; returns when nodes may register. */
export async function startComponents(
  cluster: Cluster,
  say: (line: string) => void,
  flags: ExtraFlags = {},
): Promise<void> {
  const pki = join(cluster.folder, 'pki');
  start(cluster, 'collect', 'collect', []);
  start(cluster, 'etcd', 'etcd', [
    '--data-dir',
    join(cluster.folder, 'etcd'),
    '--unsafe-no-fsync',
    '--log-level',
    'warn',
  ]);
  startApiServer(cluster, pki, flags.auditPolicy);
  await startRegistries(cluster);
  await writeFilled('cni.conflist', join(cluster.folder, 'cni', '10-testcluster.conflist'), {
    DIR: cluster.folder,
  });
  for (const node of cluster.nodes) await startContainerd(cluster, node);
  await waitFor('the registry', async () => (await fetch(`${cluster.registry.url}/v2/`)).ok, {
    timeoutMs: 60_000,
  });
  await pushTestImage(cluster, 'pause:3.10', 1024, { executable: 'pause' });
  await pushTestImage(cluster, 'noop:1', 0, { executable: 'noop' });
  await waitFor('the API server', () => kubectl(cluster, ['get', '--raw', '/readyz']), { timeoutMs: 60_000 });
  say('API server is up; starting controllers and kubelets');
  const nodes = cluster.nodes.map((node) => node.name);
  for (const name of ['controller-manager', 'scheduler', 'kube-proxy', ...nodes]) {
    await writeKubeconfig(cluster, pki, name);
  }
  startControllers(cluster, pki, flags.controllerManager);
  for (const [index, node] of cluster.nodes.entries()) await startKubelet(cluster, pki, node, index);
}

/**
 * Starts kwok, which plays any node with the annotation `kwok.x-k8s.io/node: fake`. Its pods never really pull; those
 * of Jobs run for up to `mostPodMs`. Gives what ends it. Each node's lease is renewed four times in `leaseSeconds`;
 * Kubernetes minds after 50 s without.
 */
export async function startKwok(
  cluster: Cluster,
  { mostPodMs = 0, leaseSeconds = 40 } = {},
): Promise<() => Promise<void>> {
  const stages = await readdir(cluster.binaries.stages);
  const texts = await Promise.all(
    stages.map(async (name) => {
      const text = await readFile(join(cluster.binaries.stages, name), 'utf8');
      if (mostPodMs === 0 || !name.includes('pod-ready')) return text;
      const delay = `{ durationMilliseconds: 0, jitterDurationMilliseconds: ${mostPodMs} }`;
      return text.replace('\nspec:\n', `\nspec:\n  delay: ${delay}\n`);
    }),
  );
  const config = join(cluster.folder, 'kwok.yaml');
  // With four at a time, the default, the leases of 5,000 nodes run out on a busy machine.
  const more = { apiVersion: 'config.kwok.x-k8s.io/v1alpha1', kind: 'KwokConfiguration' };
  // Where one is given, kwok takes the others for 0.
  const options = {
    options: {
      ...{ nodeLeaseParallelism: 16, podPlayStageParallelism: 32, nodePlayStageParallelism: 4 },
      ...{ podsOnNodeSyncParallelism: 1, cidr: '10.0.0.0/24' },
    },
  };
  await writeFile(config, [...texts, JSON.stringify({ ...more, ...options })].join('\n---\n'));
  const pid = start(cluster, 'kwok', 'kwok', [
    ...['--kubeconfig', cluster.kubeconfigFile, '--config', config, '--manage-all-nodes=false'],
    ...[
      '--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake',
      '--node-lease-duration-seconds',
      String(leaseSeconds),
    ],
  ]);
  return () => endInside(pid);
}

function start(
  cluster: Cluster,
  name: string,
  program: string,
  args: string[],
  env?: NodeJS.ProcessEnv,
): number {
  const path = program.includes('/') ? program : cluster.binaries.path(program);
  return startDetached(
    ...enter(cluster.sandbox, path, args),
    join(cluster.folder, 'logs', `${name}.log`),
    env,
  );
}

function startApiServer(cluster: Cluster, pki: string, auditPolicy = join(CONFIG, 'audit.yaml')): void {
  start(cluster, 'kube-apiserver', 'kube-apiserver', [
    ...['--etcd-servers', 'http://127.0.0.1:2379', '--secure-port', '6443', '--bind-address', '0.0.0.0'],
    ...['--advertise-address', cluster.sandbox.address, '--client-ca-file', `${pki}/ca.crt`],
    ...['--tls-cert-file', `${pki}/apiserver.crt`, '--tls-private-key-file', `${pki}/apiserver.key`],
    ...['--kubelet-client-certificate', `${pki}/admin.crt`, '--kubelet-client-key', `${pki}/admin.key`],
    ...['--kubelet-preferred-address-types', 'InternalIP', '--allow-privileged=true'],
    ...['--service-account-key-file', `${pki}/service-account.pub`],
    ...['--service-account-signing-key-file', `${pki}/service-account.key`],
    ...[
      '--service-account-issuer',
      'https://kubernetes.default.svc',
      '--service-cluster-ip-range',
      SERVICE_CIDR,
    ],
    ...['--authorization-mode', 'Node,RBAC', '--cert-dir', join(cluster.folder, 'apiserver')],
    ...['--audit-policy-file', auditPolicy],
    ...['--audit-log-path', join(cluster.folder, 'logs/audit.log'), '--audit-log-mode', 'blocking'],
  ]);
}

function startControllers(cluster: Cluster, pki: string, extra: string[] = []): void {
  const login = (name: string) => ['--kubeconfig', join(cluster.folder, `${name}.kubeconfig`)];
  // Rates stay at their defaults: they are what users' clusters have.
  start(cluster, 'kube-controller-manager', 'kube-controller-manager', [
    ...login('controller-manager'),
    ...['--leader-elect=false', '--use-service-account-credentials', '--root-ca-file', `${pki}/ca.crt`],
    ...['--service-account-private-key-file', `${pki}/service-account.key`],
    ...extra,
  ]);
  start(cluster, 'kube-scheduler', 'kube-scheduler', [...login('scheduler'), '--leader-elect=false']);
  start(cluster, 'kube-proxy', 'kube-proxy', [
    ...login('kube-proxy'),
    ...[
      '--proxy-mode',
      'nftables',
      '--hostname-override',
      cluster.nodes[0]?.name ?? '',
      '--cluster-cidr',
      POD_CIDR,
    ],
    ...['--conntrack-max-per-core', '0', '--conntrack-tcp-timeout-established', '0'],
    ...['--conntrack-tcp-timeout-close-wait', '0'],
  ]);
}

async function startRegistries(cluster: Cluster): Promise<void> {
  const htpasswd = join(cluster.folder, 'htpasswd');
  await writeFile(htpasswd, `${PRIVATE_CREDENTIALS.username}:${PRIVATE_PASSWORD_HASH}\n`);
  const auth = `auth: {htpasswd: {realm: test, path: "${htpasswd}"}}`;
  for (const { name, port, section } of [
    { name: 'registry', port: '5000', section: '' },
    { name: 'private-registry', port: '5001', section: auth },
  ]) {
    const config = join(cluster.folder, `${name}.yaml`);
    await writeFilled('registry.yaml', config, {
      DIR: join(cluster.folder, name),
      PORT: port,
      AUTH: section,
    });
    start(cluster, name, '/usr/bin/docker-registry', ['serve', config], {
      ...process.env,
      OTEL_TRACES_EXPORTER: 'none',
    });
  }
}

async function startContainerd(cluster: Cluster, node: TestNode): Promise<void> {
  const folder = join(cluster.folder, node.name);
  const config = join(folder, 'containerd.toml');
  const values = { DIR: folder, CNI: join(cluster.folder, 'cni'), REGISTRY: cluster.registry.host };
  await writeFilled('containerd.toml', config, values);
  // containerd finds its shim, and the shim finds runc, on PATH.
  const env = {
    ...process.env,
    PATH: [...cluster.binaries.folders, '/usr/sbin:/usr/bin:/sbin:/bin'].join(':'),
  };
  start(cluster, `${node.name}-containerd`, 'containerd', ['--config', config], env);
}

async function startKubelet(cluster: Cluster, pki: string, node: TestNode, index: number): Promise<void> {
  const folder = join(cluster.folder, node.name);
  const config = join(folder, 'kubelet.yaml');
  await writeFilled('kubelet.yaml', config, {
    DIR: folder,
    PKI: pki,
    CGROUP: cluster.cgroup,
    // Clear of the control plane's own, from 10249 to 10259.
    PORT: String(10260 + index),
    HEALTHZ_PORT: String(10360 + index),
    SERIALIZE: String(node.serializeImagePulls),
    TAINTS: JSON.stringify(node.taints),
  });
  const labels = Object.entries(node.labels).map(([key, value]) => `${key}=${value}`);
  start(cluster, `${node.name}-kubelet`, 'kubelet', [
    ...['--config', config, '--kubeconfig', join(cluster.folder, `${node.name}.kubeconfig`)],
    ...['--root-dir', join(folder, 'kubelet'), '--cert-dir', join(folder, 'kubelet-pki')],
    ...[
      '--hostname-override',
      node.name,
      '--node-ip',
      cluster.sandbox.address,
      '--node-labels',
      labels.join(','),
    ],
  ]);
}

async function writeKubeconfig(cluster: Cluster, pki: string, name: string): Promise<void> {
  const login = { certificate: join(pki, `${name}.crt`), key: join(pki, `${name}.key`) };
  const text = kubeconfig(cluster.server, join(pki, 'ca.crt'), login);
  await writeFile(join(cluster.folder, `${name}.kubeconfig`), text, { mode: 0o600 });
}

async function writeFilled(template: string, target: string, values: Record<string, string>): Promise<void> {
  await mkdir(join(target, '..'), { recursive: true });
  const text = await readFile(join(CONFIG, template), 'utf8');
  await writeFile(
    target,
    text.replace(/@([A-Z_]+)@/g, (whole, key: string) => values[key] ?? whole),
  );
}
