import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Cluster, kubectl } from '../../test/cluster/cluster.ts';

/** `POST pods` and the like, with how many there were. */
export type Counts = Record<string, number>;

/** What the issue's budget is about; other resources change whoever warms the nodes (leases, node status, namespaces). */
const COUNTED = ['pods', 'jobs', 'events', 'prewarmtasks'];
const WRITES = ['POST', 'PUT', 'PATCH', 'DELETE', 'DELETECOLLECTION'];

/** Since the API server started, by its own metrics: every writer counts, also the Job controller, kwok and the garbage collector. */
export async function readWrites(cluster: Cluster): Promise<Counts> {
  const writes: Counts = {};
  for (const line of (await kubectl(cluster, ['get', '--raw', '/metrics'])).split('\n')) {
    const [, labels = '', value] = /^apiserver_request_total\{(.*)\} (\S+)$/.exec(line) ?? [];
    const { verb = '', resource = '', subresource, code } = parseLabels(labels);
    if (!WRITES.includes(verb) || !COUNTED.includes(resource) || !code?.startsWith('2')) continue;
    const key = `${verb} ${resource}${subresource ? `/${subresource}` : ''}`;
    writes[key] = (writes[key] ?? 0) + Number(value);
  }
  return writes;
}

export function since(before: Counts, after: Counts): Counts {
  const changed = Object.entries(after)
    .map(([key, count]): [string, number] => [key, count - (before[key] ?? 0)])
    .filter(([, count]) => count > 0)
    .sort(([a], [b]) => a.localeCompare(b));
  return Object.fromEntries(changed);
}

export function total(counts: Counts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

export type Requests = { byKind: Counts; count: number; perSecond: number; peakPerSecond: number };

type Line = { verb: string; objectRef?: { resource?: string; subresource?: string }; requestURI: string };

/** What IPS itself asked between two times (`Date.now`), from the audit log, which has all of it and nothing else. */
export async function requestsOfIps(at: Cluster, fromMs: number, untilMs: number): Promise<Requests> {
  const text = await readFile(join(at.folder, 'logs/audit.log'), 'utf8');
  const byKind: Counts = {};
  const bySecond = new Map<number, number>();
  let count = 0;
  for (const line of text.split('\n')) {
    const [, time] = /"requestReceivedTimestamp":"([^"]+)"/.exec(line) ?? [];
    const ms = Date.parse(time ?? '');
    if (!(ms >= fromMs && ms < untilMs)) continue;
    const { verb, objectRef, requestURI } = JSON.parse(line) as Line;
    const what = objectRef?.resource ?? requestURI.replace(/\?.*/, '');
    const kind = `${verb} ${what}${objectRef?.subresource ? `/${objectRef.subresource}` : ''}`;
    byKind[kind] = (byKind[kind] ?? 0) + 1;
    const second = Math.floor((ms - fromMs) / 1000);
    bySecond.set(second, (bySecond.get(second) ?? 0) + 1);
    count += 1;
  }
  const seconds = Math.max(1, (untilMs - fromMs) / 1000);
  const peakPerSecond = Math.max(0, ...bySecond.values());
  return { byKind: since({}, byKind), count, perSecond: count / seconds, peakPerSecond };
}

function parseLabels(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
}
