import { cp, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';
import { apiAway, type Struck } from './faults.ts';
import { type AuditEntry, LOAD_AGENT, type Violation, type Write } from './invariants.ts';
import type { Observer } from './observer.ts';

/** Everything that one needs to find the cause. */
export async function explain(run: {
  seed: number;
  forMs: number;
  cluster: Cluster;
  observer: Observer;
  struck: Struck[];
  violations: Violation[];
  say: (line: string) => void;
}): Promise<void> {
  const { seed, forMs, cluster, observer, struck, violations, say } = run;
  const kept = await mkdtemp(join(tmpdir(), `ips-chaos-${seed}-`));
  await cp(join(cluster.folder, 'logs'), kept, { recursive: true });
  const when = (ms: number) => new Date(ms).toISOString();
  say(`VIOLATED, seed ${seed}; the faults:`);
  for (const fault of struck.toSorted((a, b) => a.fromMs - b.fromMs))
    say(`${when(fault.fromMs)} to ${when(fault.toMs)} ${fault.kind} ${fault.target}`);
  for (const { invariant, what, object } of violations.slice(0, 10)) {
    say(`VIOLATED: ${invariant}: ${what}`);
    for (const line of object ? (await observer.historyOf(object)).slice(-20) : []) say(`    ${line}`);
  }
  say(`logs of all components and every state of every object (history.jsonl) are in ${kept}`);
  say(`again: make chaos SEED=${seed} MINUTES=${(forMs / 60_000).toFixed(2)}`);
}

/** How long writes of workloads took, in milliseconds, and others at the same time. */
export function summary(applies: Write[], controls: Write[], struck: Struck[]): object {
  const away = apiAway(struck);
  const counted = applies.filter(
    ({ atMs, ms }) => !away.some(({ fromMs, toMs }) => atMs < toMs && fromMs < atMs + ms),
  );
  return {
    applies: applies.length,
    whileTheApiServerWasAway: applies.length - counted.length,
    ...{
      failed: counted.filter(({ error }) => error).length,
      unlabelled: counted.filter((each) => each.labelled === false).length,
    },
    ...{ over2s: counted.filter(({ ms }) => ms > 2_000).length },
    milliseconds: quantiles(counted),
    controlMilliseconds: quantiles(controls),
  };
}

function quantiles(writes: Write[]): object {
  const sorted = writes.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.floor(share * (sorted.length - 1))] ?? 0);
  return { p50: at(0.5), p99: at(0.99), most: at(1) };
}

/** Writes that another replica had overtaken, by what they were of. */
export function conflictsIn(audit: AuditEntry[]): Record<string, number> {
  return tally(
    audit
      .filter(({ responseStatus, userAgent }) => responseStatus?.code === 409 && userAgent !== LOAD_AGENT)
      .map(({ verb, objectRef }) => `${verb} ${objectRef?.resource}`),
  );
}

export function tally(list: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const each of list) counts[each] = (counts[each] ?? 0) + 1;
  return counts;
}
