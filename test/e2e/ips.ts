import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseAllDocuments } from 'yaml';
import { type Cluster, kubectl } from '../cluster/cluster.ts';
import { kubeconfig } from '../cluster/pki.ts';
import { waitFor } from '../cluster/run.ts';

const ROOT = join(import.meta.dirname, '../..');
const BASE = join(ROOT, 'deploy/base');

/** The value of a metric, 0 where it has none; `labels` as Prometheus writes them: `result="created"`. */
export type Metric = (name: string, labels?: string) => Promise<number>;

/** IPS as a process beside the cluster, with the rights of its own service account and no others. */
export type Ips = {
  /** Of health, metrics and the REST API. */
  url: string;
  webhookPort: number;
  pid: number;
  installWebhook(): Promise<void>;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<number | null>;
  /** SIGKILL. */
  kill(): Promise<void>;
  metric: Metric;
  /** SIGSTOP and SIGCONT: as a machine that is suspended. */
  freeze(): void;
  thaw(): void;
  logLines(): Promise<Record<string, unknown>[]>;
};

/** Applies the manifests, all but the webhook configuration, which needs to know where IPS listens. */
export async function installIps(cluster: Cluster): Promise<void> {
  for (const file of [
    'namespace',
    'crd',
    'priority-class',
    'rbac',
    'rbac-users',
    'secret',
    'lease',
    'policies',
  ]) {
    await kubectl(cluster, ['apply', '-f', join(BASE, `${file}.yaml`)]);
  }
  await kubectl(cluster, ['apply', '-f', '-'], JSON.stringify(settings(cluster)));
  // `kubectl wait` gives up at once where the definition has no conditions yet.
  await waitFor('the custom resource to be established', () =>
    kubectl(cluster, ['wait', '--for=condition=Established', 'crd/prewarmtasks.ips.dev']),
  );
}

function workerImages({ registry }: Cluster): Record<string, string> {
  return { WORKER_IMAGE: `${registry.host}/pause:3.10`, WORKER_IMAGE_LEGACY: `${registry.host}/noop:1` };
}

/** The ConfigMap by which a user sets IPS, and which the policies read. */
export function settings(cluster: Cluster): object {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'ips', namespace: 'ips-system' },
    data: workerImages(cluster),
  };
}

/** The webhook configuration as shipped, but for its address: here IPS is no Service. */
export async function installWebhook(cluster: Cluster, port: number): Promise<void> {
  const text = await readFile(join(BASE, 'webhook.yaml'), 'utf8');
  const configuration = parseAllDocuments(text)[0]?.toJS() as {
    webhooks: { clientConfig: { service?: { path: string }; url?: string } }[];
  };
  for (const { clientConfig } of configuration.webhooks) {
    clientConfig.url = `https://${cluster.sandbox.hostAddress}:${port}${clientConfig.service?.path}`;
    delete clientConfig.service;
  }
  await kubectl(cluster, ['apply', '-f', '-'], JSON.stringify(configuration));
}

export type StartOptions = {
  /** The port of the one before: the webhook configuration that is there stays. */
  webhookPort?: number;
  /** False: the webhook configuration is left to `installWebhook`, and IPS is not ready yet on return. */
  webhook?: boolean;
  env?: Record<string, string>;
  /** Arguments of Node, where it is not to be the sources. */
  program?: string[];
};

let starts = 0;

/** Gives the file of a kubeconfig that has the rights of IPS's own account. */
export async function loginAsIps(cluster: Cluster, name: string): Promise<string> {
  const args = ['create', 'token', 'ips', '--namespace', 'ips-system', '--duration', '24h'];
  const token = (await kubectl(cluster, args)).trim();
  const file = join(cluster.folder, `${name}.kubeconfig`);
  const text = kubeconfig(cluster.server, join(cluster.folder, 'pki/ca.crt'), { token });
  await writeFile(file, text, { mode: 0o600 });
  return file;
}

/** Starts IPS and waits until it says that it is ready. */
export async function startIps(cluster: Cluster, options: StartOptions = {}): Promise<Ips> {
  starts += 1;
  // Before anything is waited for: several may be started at once.
  const name = `ips-${process.pid}-${starts}`;
  const login = await loginAsIps(cluster, name);
  const logFile = join(cluster.folder, 'logs', `${name}.log`);
  // Should this process be killed, IPS must not go on alone.
  const args = ['--pdeathsig', 'KILL', process.execPath, ...(options.program ?? [join(ROOT, 'src/main.ts')])];
  const child = spawn('setpriv', args, {
    env: {
      PATH: process.env['PATH'],
      SERVER_PORT: '0',
      WEBHOOK_PORT: String(options.webhookPort ?? 0),
      WEBHOOK_HOSTS: cluster.sandbox.hostAddress,
      ...workerImages(cluster),
      // Nobody who would have to learn first that it ends stands before it.
      DRAIN_SECONDS: '0',
      // A file has one namespace for all of its tests.
      MAX_NAMESPACE_TASKS: '20',
      // Any test may be run with either strategy: PULL_STRATEGY=injected-noop make test-e2e
      PULL_STRATEGY: process.env['PULL_STRATEGY'],
      KUBECONFIG: login,
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log = createWriteStream(logFile);
  child.stderr.pipe(log, { end: false });
  child.stdout.pipe(log, { end: false });
  const listening = await firstListening(child, logFile);
  const webhookPort = Number(new URL(listening.webhook).port);
  const url = `http://127.0.0.1:${new URL(listening.http).port}`;
  const { webhook = true } = options;
  if (webhook && options.webhookPort === undefined) await installWebhook(cluster, webhookPort);
  if (webhook)
    await waitFor('IPS to be ready', async () => (await fetch(`${url}/readyz`)).ok, { timeoutMs: 120_000 });
  return {
    url,
    webhookPort,
    pid: child.pid ?? 0,
    installWebhook: () => installWebhook(cluster, webhookPort),
    async stop() {
      child.kill('SIGTERM');
      return ended(child);
    },
    async kill() {
      child.kill('SIGKILL');
      await ended(child);
    },
    metric: async (name, labels) => readMetric(await (await fetch(`${url}/metrics`)).text(), name, labels),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async logLines() {
      const lines = (await readFile(logFile, 'utf8')).split('\n').filter((line) => line.startsWith('{'));
      return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    },
  };
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode;
}

async function firstListening(
  child: ChildProcess,
  logFile: string,
): Promise<{ webhook: string; http: string }> {
  if (!child.stdout) throw new Error('IPS has no standard output');
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    const entry = line.startsWith('{')
      ? (JSON.parse(line) as { msg: string; webhook: string; http: string })
      : undefined;
    if (entry?.msg === 'listening') {
      lines.close();
      child.stdout.resume();
      return entry;
    }
  }
  throw new Error(`IPS ended before it listened:\n${await readFile(logFile, 'utf8')}`);
}

export function readMetric(text: string, name: string, labels?: string): number {
  const wanted = labels ? `${name}{${labels}} ` : `${name} `;
  const line = text.split('\n').find((each) => each.startsWith(wanted));
  return line ? Number(line.slice(wanted.length)) : 0;
}
