import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type AtOnce, pullsAtOnce, type WatchEvent } from '../e2e/witness.ts';
import type { Struck } from './faults.ts';
import type { Violation, Window } from './invariants.ts';
import type { FaultKind } from './plan.ts';

/** What may be at once in the cluster, and when that is promised. */

export type Told = WatchEvent & { atMs: number };

/** The most warmers that pulled at once when one more began, and of how many tasks; and which was the first too many. */
export function overLimits(
  pods: Told[],
  { limits, loose, counts }: { limits: AtOnce; loose: Window[]; counts?: (pod: Told['object']) => boolean },
): { most: AtOnce; violations: Violation[] } {
  const sums = pullsAtOnce(pods, counts);
  const isPromised = (atMs: number) => !loose.some(({ fromMs, toMs }) => fromMs <= atMs && atMs <= toMs);
  // A list after a gap tells one by one what had changed at the same time.
  const isJudged = (event?: Told) => event && event.type !== 'LISTED' && isPromised(event.atMs);
  const begun = (what: keyof AtOnce) =>
    sums.map((sum, index) => {
      const more = sum[what] > (sums[index - 1]?.[what] ?? 0);
      return more && isJudged(pods[index]) ? sum[what] : 0;
    });
  const violations = (['pulls', 'tasks'] as const).flatMap((what) => {
    const first = pods[begun(what).findIndex((sum) => sum > limits[what])];
    if (!first) return [];
    const object = first.object.metadata.name ?? '';
    const told = `${what}: more than ${limits[what]} from ${object} on, ${new Date(first.atMs).toISOString()}`;
    return [{ invariant: 'no more at once than there may be', what: told, object }];
  });
  const most = { pulls: Math.max(0, ...begun('pulls')), tasks: Math.max(0, ...begun('tasks')) };
  return { most, violations };
}

/** The server that counts. */
const QUEUE = 0;
const LOOSE: FaultKind[] = ['redis-flush', 'redis-away', 'api-server', 'black-hole'];
const OF_QUEUE: FaultKind[] = ['redis-kill', 'redis-freeze'];
/** Until what had to be asked for anew is there, and what was given out meanwhile is a Job with its pods. */
const MADE_MS = 10_000;

/**
 * When the counts are lost or cannot be asked for, what the cluster shows has to do, and that is a little behind; and so
 * it is when a replica gives back what it has because it ends, and after the API server was away.
 */
export function looseLimits(struck: readonly Struck[]): Window[] {
  return struck.flatMap(({ kind, target, fromMs, toMs }) => {
    if (kind === 'terminate') return [{ fromMs, toMs: fromMs + MADE_MS }];
    const isLoose = LOOSE.includes(kind) || (OF_QUEUE.includes(kind) && target === QUEUE);
    return isLoose ? [{ fromMs, toMs: toMs + MADE_MS }] : [];
  });
}

/** After this long without a pod a node is given up; the Job controller may make one yet. */
const GIVEN_UP_MS = 15_000;

/** The uids of pods that were made so late. */
export function latePods(jobs: readonly WatchEvent[], pods: readonly WatchEvent[]): Set<string> {
  const madeMs = (object: WatchEvent['object']) => Date.parse(object.metadata.creationTimestamp ?? '');
  const jobsMade = new Map(jobs.map(({ object }) => [object.metadata.uid, madeMs(object)]));
  const late = pods.filter(({ object }) => {
    const job = object.metadata.ownerReferences?.[0]?.uid;
    return madeMs(object) - (jobsMade.get(job) ?? 0) >= GIVEN_UP_MS;
  });
  return new Set(late.map(({ object }) => object.metadata.uid ?? ''));
}

/** When replicas said themselves that the server which counts did not answer; their clocks may have been ahead. */
export async function saidAway(folder: string, part: string, aheadMs: number): Promise<Window[]> {
  const files = (await readdir(folder)).filter((name) => /^ips-.*\.log$/.test(name));
  const texts = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
  const lines = texts.flatMap((text) => text.split('\n')).filter((line) => line.includes('coordination'));
  return lines.flatMap((line) => {
    if (!line.startsWith('{') || !line.endsWith('}')) return [];
    const { time, ...said } = JSON.parse(line) as { time: string | number; part?: string };
    if (said.part !== part) return [];
    const atMs = new Date(time).getTime();
    return [atMs, atMs - aheadMs].map((ms) => ({ fromMs: ms - MADE_MS, toMs: ms + MADE_MS }));
  });
}
