import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Binaries, buildBinaries } from './build.ts';
import { cacheDirectory } from './cache.ts';
import { startComponents } from './components.ts';
import { kubeconfig, writePki } from './pki.ts';
import { pushImage, type Registry, type TestImage } from './registry.ts';
import { run, runBoth, waitFor } from './run.ts';
import { createSandbox, destroySandbox, enter, isRunning, type Sandbox } from './sandbox.ts';

export type TestNode = {
  name: string;
  labels: Record<string, string>;
  taints: object[];
  serializeImagePulls: boolean;
};

const ZONE = 'topology.kubernetes.io/zone';

/** The nodes differ in what IPS has to tell apart; `node-a` pulls one image at a time, as kubelets do by default. */
export const NODES: TestNode[] = [
  { name: 'node-a', labels: { pool: 'web', [ZONE]: 'zone-a' }, taints: [], serializeImagePulls: true },
  { name: 'node-b', labels: { pool: 'web', [ZONE]: 'zone-b' }, taints: [], serializeImagePulls: false },
  {
    name: 'node-c',
    labels: { pool: 'batch', [ZONE]: 'zone-b' },
    taints: [{ key: 'dedicated', value: 'batch', effect: 'NoSchedule' }],
    serializeImagePulls: false,
  },
];

/** What is written to `cluster.json`, so that another process can use the cluster and end it. */
type State = {
  name: string;
  folder: string;
  sandbox: Sandbox;
  cgroup: string;
  createdAt: string;
  nodes: TestNode[];
};

export type Cluster = State & {
  kubeconfigFile: string;
  server: string;
  registry: Registry;
  /** Demands a password. */
  privateRegistry: Registry;
  binaries: Binaries;
};

export const PRIVATE_CREDENTIALS = { username: 'ips', password: 'warm-me' };

/** Flags beyond the usual ones. */
export type ExtraFlags = {
  controllerManager?: string[];
  /** A file, in place of config/audit.yaml. */
  auditPolicy?: string;
};

/** Starts a cluster and waits until its nodes are ready. With `lifeline` it ends when this process does. */
export async function startCluster(options: {
  name: string;
  lifeline: boolean;
  say: (line: string) => void;
  flags?: ExtraFlags;
  nodes?: TestNode[];
}): Promise<Cluster> {
  const { name, lifeline, say, nodes = NODES } = options;
  const binaries = await buildBinaries(say);
  const started = Date.now();
  const parent = clustersFolder();
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, `${name}-`));
  await mkdir(join(folder, 'logs'));
  const sandbox = await createSandbox(folder, { lifeline });
  const cgroup = `ips-${folder.slice(-6)}`;
  const state: State = { name, folder, sandbox, cgroup, createdAt: new Date().toISOString(), nodes };
  await writeFile(join(folder, 'cluster.json'), JSON.stringify(state, undefined, 2));
  try {
    const cluster = describeCluster(state, binaries);
    await writePki(join(folder, 'pki'), { address: sandbox.address, nodes: nodes.map((node) => node.name) });
    const admin = { certificate: join(folder, 'pki/admin.crt'), key: join(folder, 'pki/admin.key') };
    await writeFile(cluster.kubeconfigFile, kubeconfig(cluster.server, join(folder, 'pki/ca.crt'), admin), {
      mode: 0o600,
    });
    await startComponents(cluster, say, options.flags);
    await waitUntilReady(cluster);
    say(
      `cluster ${name} is ready: ${nodes.length} real nodes, ${((Date.now() - started) / 1000).toFixed(1)} s`,
    );
    return cluster;
  } catch (error) {
    const logs = await logTails(folder);
    await stopCluster(state);
    throw new Error(`the cluster did not start: ${error instanceof Error ? error.message : error}\n${logs}`, {
      cause: error,
    });
  }
}

/** Ends a cluster, also one whose owner crashed, and removes all it left. */
export async function stopCluster(state: {
  sandbox: Sandbox;
  cgroup: string;
  folder: string;
}): Promise<void> {
  await destroySandbox(state.sandbox, state.cgroup);
  await rm(state.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}

/** Clusters whose folder is still there, running or crashed. */
export async function listClusters(): Promise<(State & { running: boolean })[]> {
  const entries = await readdir(clustersFolder()).catch(() => []);
  const clusters: (State & { running: boolean })[] = [];
  for (const entry of entries) {
    const text = await readFile(join(clustersFolder(), entry, 'cluster.json'), 'utf8').catch(() => undefined);
    if (!text) continue;
    const state = JSON.parse(text) as State;
    clusters.push({ ...state, running: isRunning(state.sandbox) });
  }
  return clusters;
}

/** A running cluster that another process started, by its folder. */
export async function openCluster(folder: string, say: (line: string) => void): Promise<Cluster | undefined> {
  const state = (await listClusters()).find((cluster) => cluster.folder === folder && cluster.running);
  return state && describeCluster(state, await buildBinaries(say));
}

/** Runs kubectl against this cluster and no other; gives its standard output. */
export async function kubectl(cluster: Cluster, args: string[], input?: string): Promise<string> {
  return (await kubectlBoth(cluster, args, input)).stdout;
}

/** As `kubectl`, with the standard error, where it prints the warnings of admission. */
export async function kubectlBoth(
  cluster: Cluster,
  args: string[],
  input?: string,
): Promise<{ stdout: string; stderr: string }> {
  const env = { ...process.env, KUBECONFIG: cluster.kubeconfigFile };
  return runBoth(cluster.binaries.path('kubectl'), args, input === undefined ? { env } : { env, input });
}

/** The images in a node's own containerd, by name; it is asked directly, not through Kubernetes. */
export async function imagesOn(cluster: Cluster, node: string): Promise<string[]> {
  const socket = join(cluster.folder, node, 'containerd.sock');
  const args = ['--address', socket, '--namespace', 'k8s.io', 'images', 'list', '--quiet'];
  return (await run(...enter(cluster.sandbox, cluster.binaries.path('ctr'), args)))
    .split('\n')
    .filter(Boolean);
}

/** The digest that an image's name stands for in a node's own containerd. */
export async function imageDigestOn(
  cluster: Cluster,
  node: string,
  image: string,
): Promise<string | undefined> {
  const socket = join(cluster.folder, node, 'containerd.sock');
  const args = ['--address', socket, '--namespace', 'k8s.io', 'images', 'list', `name==${image}`];
  const listed = await run(...enter(cluster.sandbox, cluster.binaries.path('ctr'), args));
  return /sha256:[0-9a-f]{64}/.exec(listed)?.[0];
}

/** The images whose executable has been started so far, as their containers told the collector. */
export async function executedImages(cluster: Cluster): Promise<string[]> {
  return (await readFile(join(cluster.folder, 'logs/collect.log'), 'utf8')).split('\n').filter(Boolean);
}

function clustersFolder(): string {
  return join(cacheDirectory(), 'clusters');
}

function describeCluster(state: State, binaries: Binaries): Cluster {
  const { address } = state.sandbox;
  return {
    ...state,
    binaries,
    server: `https://${address}:6443`,
    kubeconfigFile: join(state.folder, 'kubeconfig'),
    registry: { url: `http://${address}:5000`, host: '127.0.0.1:5000' },
    privateRegistry: {
      url: `http://${address}:5001`,
      host: '127.0.0.1:5001',
      credentials: PRIVATE_CREDENTIALS,
    },
  };
}

async function waitUntilReady(cluster: Cluster): Promise<void> {
  const ready = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}';
  await waitFor(
    'every node to be ready',
    async () => {
      const answer = (await kubectl(cluster, ['get', 'nodes', '-o', `jsonpath=${ready}`]))
        .split('\n')
        .filter(Boolean);
      return answer.length >= cluster.nodes.length && answer.every((status) => status === 'True');
    },
    { timeoutMs: 90_000, everyMs: 300 },
  );
  await waitFor('the default service account', () =>
    kubectl(cluster, ['get', 'serviceaccount', 'default', '-o', 'name']),
  );
}

export async function pushTestImage(
  cluster: Cluster,
  name: string,
  size: number,
  options: Pick<TestImage, 'executable' | 'config'> & { private?: boolean } = {},
): Promise<string> {
  const registry = options.private ? cluster.privateRegistry : cluster.registry;
  const { executable, config } = options;
  return pushImage(
    registry,
    { name, size, ...(executable ? { executable } : {}), ...(config ? { config } : {}) },
    cluster.binaries.path(executable === 'noop' ? 'noop' : 'testimage'),
  );
}

async function logTails(folder: string): Promise<string> {
  const names = await readdir(join(folder, 'logs')).catch(() => []);
  const tails = names.map(async (name) => {
    const text = await readFile(join(folder, 'logs', name), 'utf8').catch(() => '');
    return `--- ${name}\n${text.split('\n').slice(-6).join('\n')}`;
  });
  return (await Promise.all(tails)).join('\n');
}
