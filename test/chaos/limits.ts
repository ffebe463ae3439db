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
/**
 * When the counts are lost or cannot be asked for, what the cluster shows has to do, and that is a little behind; and so
 * it is when a replica gives back what it has because it ends, and after the API server was away.
 */
const LOOSE: FaultKind[] = ['redis-flush', 'redis-away', 'terminate', 'api-server', 'black-hole'];
const OF_QUEUE: FaultKind[] = ['redis-kill', 'redis-freeze'];
/** On a busy machine it takes a while until a batch is a Job, and the Job pods. */
const MADE_MS = 20_000;

/** Without the webhook no pod is made; the Job controller tries again for a minute, when its node may be given up. */
const UNPINNED_MS = 60_000;

export function looseLimits(struck: readonly Struck[]): Window[] {
  const isLoose = ({ kind, target }: Struck) =>
    kind === 'webhook' || LOOSE.includes(kind) || (OF_QUEUE.includes(kind) && target === QUEUE);
  return struck.filter(isLoose).map(({ kind, fromMs, toMs }) => ({
    fromMs,
    toMs: toMs + (kind === 'webhook' ? UNPINNED_MS : MADE_MS),
  }));
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
