import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundleIps } from '../../scripts/esbuild.ts';
import type { Cluster } from '../../test/cluster/cluster.ts';
import { type Ips, startIps } from '../../test/e2e/ips.ts';
import type { Freezes } from '../freezes.ts';
import { asShipped } from '../shipped.ts';

/** How long the event loop of IPS was held up, by the clock and, of the longest, by processor time; see stalls.ts. */
type Seen = {
  p99Ms: number;
  maxMs: number;
  long: { untilMs: number; clockMs: number; cpuMs: number }[];
};

/** Of its own doing is the processor time less what the machine stood still meanwhile; 0 where none is long. */
export type Stalls = {
  p99Ms: number;
  maxMs: number;
  maxCpuMs: number;
  maxOwnMs: number;
  ownOver50: number;
};

/** `frozenMs`: how long the machine stood still, see freezes.ts. */
export type Measured = { peakMB: number; cpuSeconds: number; frozenMs: number; stalls: Stalls };

/** IPS as its image has it, bundled, with what it takes of the machine. */
export type MeasuredIps = {
  ips: Ips;
  startSeconds: number;
  /** What follows is measured from now on. */
  begin(): Promise<void>;
  /** Since `begin`, or since the start. */
  measured(): Promise<Measured>;
  residentMB(): Promise<number>;
};

const STALLS = 'bench/scale/stalls.ts';

export async function startMeasured(
  at: Cluster,
  freezes: Freezes,
  webhookPort?: number,
): Promise<MeasuredIps> {
  const bundle = join(at.folder, 'ips.mjs');
  await bundleIps(bundle);
  // Were it TypeScript, Node would load what reads that, which is 27 MB in a process that has none.
  const witness = join(at.folder, 'stalls.mjs');
  await bundleIps(witness, STALLS);
  const stallsFile = join(at.folder, 'stalls.json');
  await writeFile(stallsFile, '{}');
  const { flags, env } = await asShipped();
  const startedMs = performance.now();
  const ips = await startIps(at, {
    program: [...flags, '--import', witness, bundle],
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
  let [cpuBefore, fromMs] = [0, Date.now()];
  return {
    ips,
    startSeconds,
    async begin() {
      await writeFile(of('clear_refs'), '5'); // the high-water mark of resident memory begins anew
      process.kill(ips.pid, 'SIGUSR2');
      [cpuBefore, fromMs] = [await cpuSeconds(), Date.now()];
    },
    async measured() {
      await sleep(1_500); // the file is written each second
      const { p99Ms, maxMs, long } = JSON.parse(await readFile(stallsFile, 'utf8')) as Seen;
      const own = long.map(({ untilMs, clockMs, cpuMs }) =>
        Math.max(0, cpuMs - freezes.frozenMs(untilMs - clockMs, untilMs)),
      );
      const stalls = {
        ...{ p99Ms, maxMs },
        maxCpuMs: Math.max(0, ...long.map(({ cpuMs }) => cpuMs)),
        maxOwnMs: Math.max(0, ...own),
        ownOver50: own.filter((ms) => ms > 50).length,
      };
      const frozenMs = freezes.frozenMs(fromMs, Date.now());
      return { peakMB: await inMB('VmHWM'), cpuSeconds: (await cpuSeconds()) - cpuBefore, frozenMs, stalls };
    },
    residentMB: () => inMB('VmRSS'),
  };
}
