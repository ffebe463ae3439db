import type { NodeOutcome } from './batch-outcome.ts';
import { type StrategyOptions, strategyOf } from './node-strategy.ts';
import type { Eligibility } from './node-view.ts';
import type { OpenBatch, PrewarmTask } from './prewarm-task.ts';
import { type PresenceOf, type Progress, planBatch, taskProgress, wantedNodes } from './task-progress.ts';

export type FirstRound = {
  /** The names of nodes that lack an image. */
  cold: Set<string>;
  batches: OpenBatch[];
};

/** What a round that begins now would be, were it alone in the cluster, every pull to succeed, and each batch to end as one. */
export function firstRound(
  task: PrewarmTask,
  nodes: Eligibility,
  options: {
    strategies: StrategyOptions;
    presence: PresenceOf;
    maxConcurrentPulls: number;
    nameOf: (batch: number) => string;
  },
): FirstRound {
  const nowMs = 0;
  // What a node's status told before the round cannot prove that an image is gone again.
  const presence: PresenceOf = (node, image) =>
    options.presence(node, image) === 'present' ? 'present' : 'unknown';
  const batches: OpenBatch[] = [];
  let outcomes = new Map<string, NodeOutcome[]>();
  let cold: Set<string> | undefined;
  let { status } = task;
  for (;;) {
    const current = status ? { ...task, status } : task;
    const progress: Progress = taskProgress({
      ...nodes,
      ...{ task: current, presence, outcomes, nowMs },
    });
    cold ??= new Set(progress.cold.map((node) => node.metadata.name ?? ''));
    const count = Math.min(wantedNodes(progress, nowMs), options.maxConcurrentPulls);
    if (count <= 0) return { cold, batches };
    const batch = planBatch(current, progress, {
      ...{ count, presence, nowMs },
      strategyOf: (node) => strategyOf(node, options.strategies),
      nameOf: (_round, number) => options.nameOf(number),
    });
    batches.push(batch);
    const warmed: NodeOutcome = { state: 'ended', warm: batch.images, failures: [] };
    outcomes = new Map([[batch.jobName, batch.nodes.map(() => warmed)]]);
    ({ status } = progress);
  }
}
