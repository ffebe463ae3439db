import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundleIps } from '../../scripts/one-file.ts';
import type { Cluster } from '../../test/cluster/cluster.ts';
import { type Ips, startIps } from '../../test/e2e/ips.ts';
import { asShipped } from '../shipped.ts';

/** How long the event loop of IPS was held up, in milliseconds; `maxCpuMs` of its own doing, see stalls.ts. */
export type Stalls = { p99Ms: number; maxMs: number; maxCpuMs: number; over50: number };

export type Measured = { peakMB: number; cpuSeconds: number; stalls: Stalls };

/** IPS as its image has it, one bundled file, with what it takes of the machine. */
export type MeasuredIps = {
  ips: Ips;
  startSeconds: number;
  /** What follows is measured from now on. */
  begin(): Promise<void>;
  /** Since `begin`, or since the start. */
  measured(): Promise<Measured>;
  residentMB(): Promise<number>;
};

const STALLS = join(import.meta.dirname, 'stalls.ts');

export async function startMeasured(at: Cluster, webhookPort?: number): Promise<MeasuredIps> {
  const bundle = join(at.folder, 'ips.mjs');
  await bundleIps(bundle);
  const stallsFile = join(at.folder, 'stalls.json');
  await writeFile(stallsFile, '{}');
  const { flags, env } = await asShipped();
  const startedMs = performance.now();
  const ips = await startIps(at, {
    program: [...flags, '--import', STALLS, bundle],
    env: { ...env, BENCH_STALLS: stallsFile },
    ...(webhookPort ? { webhookPort } : {}),
  });
  const startSeconds = (performance.now() - startedMs) / 1000;
  const of = (name: string) => `/proc/${ips.pid}/${name}`;
  const inMB = async (field: string) => {
    const [, kB] =
      new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(await readFile(of('status'), 'utf8')) ?? [];
    return Number(kB) / 1024;
  };
  const cpuSeconds = async () => {
    // After the name, which may hold anything: user and system time in ticks of 10 ms.
    const fields = (await readFile(of('stat'), 'utf8')).replace(/^.*\) /s, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  };
  let cpuBefore = 0;
  return {
    ips,
    startSeconds,
    async begin() {
      await writeFile(of('clear_refs'), '5'); // the high-water mark of resident memory begins anew
      process.kill(ips.pid, 'SIGUSR2');
      cpuBefore = await cpuSeconds();
    },
    async measured() {
      await sleep(1_500); // the file is written each second
      const stalls = JSON.parse(await readFile(stallsFile, 'utf8')) as Stalls;
      return { peakMB: await inMB('VmHWM'), cpuSeconds: (await cpuSeconds()) - cpuBefore, stalls };
    },
    residentMB: () => inMB('VmRSS'),
  };
}
