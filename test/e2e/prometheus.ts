import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { cacheDirectory } from '../cluster/cache.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';

/** Debian's, installed, or as scripts/cluster-needs.sh unpacks it. */
const BINARIES = existsSync('/usr/bin/promtool') ? '/usr/bin' : join(cacheDirectory(), 'prometheus/usr/bin');
export const PROMTOOL = join(BINARIES, 'promtool');

export type Alert = {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  state: 'pending' | 'firing';
};

export type Prometheus = {
  /** Those that are pending or firing. */
  alerts(): Promise<Alert[]>;
  /** The value of each series that a query gives. */
  query(query: string): Promise<number[]>;
  stop(): Promise<void>;
};

/** A Prometheus that looks every second at IPS, and evaluates these rules. */
export async function startPrometheus(cluster: Cluster, ipsUrl: string, rules: string): Promise<Prometheus> {
  await mkdir(cluster.folder, { recursive: true });
  const folder = await mkdtemp(join(cluster.folder, 'prometheus-'));
  await writeFile(join(folder, 'rules.yaml'), rules);
  const configuration = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: ['rules.yaml'],
    scrape_configs: [{ job_name: 'ips', static_configs: [{ targets: [new URL(ipsUrl).host] }] }],
  };
  await writeFile(join(folder, 'prometheus.yaml'), JSON.stringify(configuration));
  const child = spawn(
    join(BINARIES, 'prometheus'),
    [
      `--config.file=${join(folder, 'prometheus.yaml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      '--web.listen-address=127.0.0.1:0',
      '--log.format=json',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const onExit = () => child.kill('SIGKILL');
  process.once('exit', onExit);
  child.once('exit', () => process.off('exit', onExit));
  const url = `http://${await listening(child)}`;
  const ask = async <T>(path: string): Promise<T> => {
    const answer = (await (await fetch(`${url}/api/v1/${path}`)).json()) as { data: T };
    return answer.data;
  };
  await waitFor('Prometheus to be ready', async () => (await fetch(`${url}/-/ready`)).ok);
  return {
    alerts: async () => (await ask<{ alerts: Alert[] }>('alerts')).alerts,
    async query(query) {
      type Result = { result: { value: [number, string] }[] };
      const { result } = await ask<Result>(`query?query=${encodeURIComponent(query)}`);
      return result.map(({ value }) => Number(value[1]));
    },
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

/** Where it listens, as its log tells; the system chose the port. */
async function listening(child: ChildProcess): Promise<string> {
  if (!child.stderr) throw new Error('Prometheus has no standard error');
  const seen: string[] = [];
  const lines = createInterface({ input: child.stderr });
  for await (const line of lines) {
    seen.push(line);
    const { msg, address } = JSON.parse(line) as { msg?: string; address?: string };
    if (msg !== 'Listening on' || !address) continue;
    lines.close();
    child.stderr.resume();
    return address;
  }
  throw new Error(`Prometheus ended before it listened:\n${seen.join('\n')}`);
}
