import { spawn } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { bundleIps } from '../../scripts/esbuild.ts';
import { createAuthority, issueServingCertificate } from '../../src/certs/authority.ts';
import { run, waitFor } from '../../test/cluster/run.ts';
import { asShipped } from '../shipped.ts';
import { cpuMillisOf } from './statistics.ts';

export type Server = {
  name: string;
  url: string;
  /** Both of the whole process, with all its threads. */
  cpuMillis(): Promise<number>;
  residentMB(): Promise<number>;
  stop(): Promise<void>;
};

export const SERVERS = {
  ips: 'IPS as its image has it, bundled and with its flags, whole, with metrics and logs',
  go: 'a webhook on controller-runtime that does the same work and writes its patch by hand',
  'go-diff': 'the same, its patch made by comparing the object before and after (PatchResponseFromRaw)',
  floor: 'bare node:http2 over TLS: the review read as JSON, always the same patch',
} as const;

export type ServerName = keyof typeof SERVERS;

const FIRST_PORT = 19_440;
export const PEER = join(import.meta.dirname, '../peers/admission');

/** Builds what is asked, and writes a certificate as IPS's own authority makes it. */
export async function prepare(folder: string): Promise<void> {
  const now = new Date();
  const authority = await createAuthority({ commonName: 'bench', now, validityDays: 2 });
  const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };
  const { cert, key } = await issueServingCertificate({ authority, ...names, now, validityDays: 1 });
  await writeFile(join(folder, 'tls.crt'), cert);
  await writeFile(join(folder, 'tls.key'), key, { mode: 0o600 });
  await writeFile(join(folder, 'ca.crt'), authority.cert);
  // Nobody answers there. Admission needs no API server; only the controller waits for one.
  const cluster = { name: 'none', cluster: { server: 'https://127.0.0.1:1' } };
  const context = { name: 'none', context: { cluster: 'none', user: 'none' } };
  const lists = { clusters: [cluster], contexts: [context], users: [{ name: 'none', user: {} }] };
  const kubeconfig = { apiVersion: 'v1', kind: 'Config', 'current-context': 'none', ...lists };
  await writeFile(join(folder, 'kubeconfig'), JSON.stringify(kubeconfig));
  await bundleIps(join(folder, 'ips.mjs'));
  await run('go', ['build', '-C', PEER, '-o', join(folder, 'peer'), '.'], { timeoutMs: 900_000 });
}

export async function startServer(name: ServerName, folder: string, core: string): Promise<Server> {
  const port = FIRST_PORT + Object.keys(SERVERS).indexOf(name);
  const files = ['--cert-dir', folder, '--port', String(port)];
  const shipped = await asShipped();
  const commands: Record<ServerName, string[]> = {
    ips: [process.execPath, ...shipped.flags, join(folder, 'ips.mjs')],
    go: [join(folder, 'peer'), ...files],
    'go-diff': [join(folder, 'peer'), '--diff', ...files],
    floor: [process.execPath, join(import.meta.dirname, 'floor.ts'), ...files],
  };
  const env = {
    ...{ PATH: process.env['PATH'], NODE_ENV: 'production', CERT_DIR: folder },
    ...{ WEBHOOK_PORT: String(port), WEBHOOK_HOSTS: 'localhost', SERVER_PORT: String(port + 100) },
    KUBECONFIG: join(folder, 'kubeconfig'),
    ...(name === 'ips' ? shipped.env : {}),
  };
  const log = join(folder, `${name}.log`);
  const output = openSync(log, 'w');
  const child = spawn('taskset', ['-c', core, ...commands[name]], { env, stdio: ['ignore', output, output] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  // By itself none of them ends; what it said last is worth more than what goes wrong without it.
  child.once('exit', (code, signal) => {
    if (signal !== 'SIGKILL')
      console.error(`${name} ended (${signal ?? code}): ${readFileSync(log, 'utf8').slice(-2000)}`);
  });
  await waitFor(`${name} to listen (its log is ${log})`, () => connects(port));
  // taskset becomes what it starts.
  const { pid } = child;
  return {
    name,
    url: `https://localhost:${port}/mutate?timeout=2s`,
    cpuMillis: async () => cpuMillisOf(await readFile(`/proc/${pid}/stat`, 'utf8')),
    async residentMB() {
      const [, kB] = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
      return Number(kB) / 1024;
    },
    async stop() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function connects(port: number): Promise<true> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', reject);
  });
}
