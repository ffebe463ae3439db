import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../../test/cluster/run.ts';
import type { Freezes } from '../freezes.ts';
import type { Server } from './servers.ts';
import { answeredBetween, percentile, readLog } from './statistics.ts';

/** How a load is put on a server. The API server keeps one connection of HTTP/2, or one of HTTP/1.1 for each call in flight. */
export const PROTOCOLS = {
  'HTTP/2': (inFlight: number) => ['-c', '1', '-m', String(inFlight)],
  'HTTP/1.1': (inFlight: number) => ['--h1', '-c', String(inFlight), '-m', '1'],
} as const;

export type Protocol = keyof typeof PROTOCOLS;

export type Load = { protocol: Protocol; inFlight: number; reviewFile: string };

export type Measured = {
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** Processor time of the server for each request. */
  cpuMicros: number;
  residentMB: number;
  /** For how long the machine itself stood still meanwhile, see freezes.ts. */
  frozenMs: number;
};

export type Means = { folder: string; core: string; forMs: number; freezes: Freezes };

/** h2load never ends where its time was over before all connections stood; its log is good until then. */
const GIVE_UP_MS = 1_500;
const TRIES = 3;
/** Handshakes, and the first requests. */
const LEAD_MS = 500;

/** One stop of 10 ms holds up all that is in flight, which is one in a hundred of what is answered in 0.7 s. */
const CALM_SHARE = 0.01;
const TRIES_FOR_CALM = 6;

/** As `measure`, and again where the machine stood still meanwhile; the calmest counts. */
export async function measureCalm(server: Server, load: Load, means: Means): Promise<Measured> {
  let calmest = await measure(server, load, means);
  for (let left = TRIES_FOR_CALM - 1; left > 0 && calmest.frozenMs > CALM_SHARE * means.forMs; left -= 1) {
    const next = await measure(server, load, means);
    if (next.frozenMs < calmest.frozenMs) calmest = next;
  }
  return calmest;
}

/** As `measureOnce`, and again where the machine was too busy for any answer. */
export async function measure(...args: Parameters<typeof measureOnce>): Promise<Measured> {
  for (let left = TRIES; left > 0; left -= 1) {
    const measured = await measureOnce(...args);
    if (measured) return measured;
  }
  throw new Error(`${args[0].name} answered nothing, or h2load did not run`);
}

/** Puts a load on a server for a while from another core, and measures within that while. */
async function measureOnce(
  server: Server,
  load: Load,
  { folder, core, forMs, freezes }: Means,
): Promise<Measured | undefined> {
  const logFile = join(folder, 'h2load.log');
  const duration = LEAD_MS + forMs + 100;
  const args = [
    ...['-c', core, 'h2load', ...PROTOCOLS[load.protocol](load.inFlight)],
    ...['-D', `${duration}ms`, '-d', load.reviewFile, '--log-file', logFile],
    ...['-H', 'content-type: application/json', '-H', 'accept: application/json', server.url],
  ];
  // Whether all went well is told by its log, which is read below.
  const h2load = run('taskset', args, { timeoutMs: duration + GIVE_UP_MS }).catch(() => {});
  await sleep(LEAD_MS);
  const before = { at: Date.now(), cpu: await server.cpuMillis() };
  await sleep(forMs);
  const after = { at: Date.now(), cpu: await server.cpuMillis() };
  const residentMB = await server.residentMB();
  await h2load;
  const answered = answeredBetween(readLog(await readFile(logFile, 'utf8')), before.at, after.at);
  const wrong = answered.filter(({ status }) => status !== 200).length;
  if (wrong > 0) throw new Error(`${server.name} answered ${wrong} of ${answered.length} without a 200`);
  if (answered.length === 0) return undefined;
  const took = answered.map(({ tookMicros }) => tookMicros / 1000);
  return {
    requestsPerSecond: (answered.length * 1000) / (after.at - before.at),
    p50Ms: percentile(took, 0.5),
    p99Ms: percentile(took, 0.99),
    cpuMicros: ((after.cpu - before.cpu) * 1000) / answered.length,
    residentMB,
    frozenMs: freezes.frozenMs(before.at, after.at),
  };
}
