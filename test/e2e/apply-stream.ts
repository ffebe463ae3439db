import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { podProcesses, readProc } from '../cluster/processes.ts';
import { deployment, type Kit, PREWARM, unique } from './kit.ts';

/** Ten a second, three at once, so that the API server holds several connections to IPS. */
const BURST = 3;
const EVERY_MS = 300;
/** Every so many bursts one apply is stored, so that IPS has work with it; a dry run comes to admission in the same way. */
const STORED_EVERY = 5;
/** On a machine that does not keep up, no more wait at a time. */
const MOST_OPEN = 30;
/** What the webhook has at most, as shipped. */
const SLOW_MS = 2_000;

type Answer = { ms: number; status: number; body: string };
type Apply = { name: string; ms: number; problem: string | undefined };
/** `besideMs`: what the apply beside it took. `waitedMs`: how long one of IPS's processes could run, and was not let. */
type Burst = { applies: Apply[]; besideMs: number; waitedMs: number };

/**
 * A steady stream of applies of new workloads, for as long as `action` takes; fails unless each was labelled by
 * admission, in the answer of its own apply. What takes longer than the webhook's time-out has to be IPS's doing to count: beside each burst
 * goes one apply that admission is not asked about, and the kernel tells how long IPS waited for a processor.
 */
export async function whileApplying(kit: Kit, action: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const stream = apply(kit, stop.signal);
  // Told below, after what `action` has to tell.
  stream.catch(() => {});
  try {
    await action();
  } finally {
    stop.abort();
    const bursts = await stream;
    const applies = bursts.flatMap((burst) => burst.applies);
    expect(applies.filter(({ problem }) => problem)).toEqual([]);
    const slow = bursts.filter(({ applies: each, besideMs, waitedMs }) =>
      each.some(({ ms }) => ms > SLOW_MS + besideMs + waitedMs),
    );
    expect(slow).toEqual([]);
    expect(applies.length).toBeGreaterThan(5);
  }
}

async function apply(kit: Kit, signal: AbortSignal): Promise<Burst[]> {
  const post = await poster(kit.cluster);
  const images = [`${kit.cluster.registry.host}/pause:3.10`];
  const one = (annotations: Record<string, string>, isDryRun: boolean) => {
    const object = deployment(unique('flow'), { annotations, replicas: 0, images }) as KubernetesObject;
    const query = `fieldManager=flow${isDryRun ? '&dryRun=All' : ''}`;
    const { name } = object.metadata;
    const path = `/apis/apps/v1/namespaces/${kit.namespace}/deployments/${name}?${query}`;
    return post(path, object).then(
      (answer) => ({ name: name ?? '', ...answer }),
      (error: Error) => ({ name: name ?? '', ms: 0, status: 0, body: error.message }),
    );
  };
  const open = new Set<Promise<unknown>>();
  const bursts: Burst[] = [];
  for (let count = 0; !signal.aborted; count += 1) {
    const stored = count % STORED_EVERY === 0 ? 0 : -1;
    if (open.size < MOST_OPEN) {
      const before = processorWaits(kit.cluster);
      const beside = one({}, stored !== 0);
      const asked = Array.from({ length: BURST }, (_, index) => one(PREWARM, index !== stored));
      const burst = Promise.all([beside, ...asked]).then(([{ ms }, ...answers]) => {
        const waitedMs = mostWaited(before, processorWaits(kit.cluster));
        const applies = answers.map(({ name, ...each }) => judged(name, each));
        bursts.push({ besideMs: Math.round(ms), waitedMs: Math.round(waitedMs), applies });
        open.delete(burst);
      });
      open.add(burst);
    }
    await sleep(EVERY_MS);
  }
  await Promise.all(open);
  return bursts;
}

function judged(name: string, { ms, status, body }: Answer): Apply {
  const labels = status === 201 ? (JSON.parse(body) as KubernetesObject).metadata.labels : undefined;
  const isLabelled = labels?.['ips/prewarm'] === 'true';
  const problem = status === 201 ? 'not labelled' : `${status} ${body.slice(0, 300)}`;
  return { name, ms: Math.round(ms), problem: isLabelled ? undefined : problem };
}

/** For each process of IPS in a pod of this cluster, how many milliseconds it has waited for a processor so far. */
function processorWaits(cluster: Cluster): Map<string, number> {
  // Of its first thread, which is the one that answers: time on a processor, and time on the way to one, in ns.
  const waited = (pid: string) => Number(readProc(pid, 'schedstat').split(' ')[1] ?? 0) / 1e6;
  return new Map(podProcesses(cluster, '/ips.mjs').map(({ pid }) => [pid, waited(pid)]));
}

/** One that has started meanwhile was not asked yet. */
function mostWaited(before: Map<string, number>, after: Map<string, number>): number {
  return Math.max(0, ...[...after].map(([pid, ms]) => ms - (before.get(pid) ?? ms)));
}

/** Server-side apply with the certificate of the cluster's admin: no process for each of them. */
async function poster(cluster: Cluster): Promise<(path: string, object: object) => Promise<Answer>> {
  const pem = (name: string) => readFile(join(cluster.folder, 'pki', name));
  const [ca, cert, key] = await Promise.all(['ca.crt', 'admin.crt', 'admin.key'].map(pem));
  const agent = new Agent({ keepAlive: true, ...(ca && cert && key ? { ca, cert, key } : {}) });
  const headers = { 'content-type': 'application/apply-patch+yaml' };
  return (path, object) =>
    new Promise((resolve, reject) => {
      const started = performance.now();
      const sent = request(cluster.server + path, { method: 'PATCH', agent, headers }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => {
          body += part;
        });
        response.on('end', () =>
          resolve({ ms: performance.now() - started, status: response.statusCode ?? 0, body }),
        );
      });
      sent.on('error', reject);
      sent.end(JSON.stringify(object));
    });
}
