import type { Logger } from 'pino';
import { stableJson } from '../domain/fingerprint.ts';
import type { ImageIndex } from '../domain/image-index.ts';
import type { ImageSizes } from '../domain/image-sizes.ts';
import type { Job, KubernetesNode, RuntimeClass } from '../domain/kubernetes.ts';
import type { NodeChoice } from '../domain/node-choice.ts';
import type { NodeIndex } from '../domain/node-index.ts';
import type { NodeMatcher } from '../domain/node-matching.ts';
import { type StrategyOptions, strategyOf } from '../domain/node-strategy.ts';
import type { KnownNodes } from '../domain/node-view.ts';
import {
  DEFAULTS,
  type OpenBatch,
  type PrewarmTask,
  type PrewarmTaskStatus,
  type TaskPhase,
} from '../domain/prewarm-task.ts';
import { reasonKind, USUAL_REASONS } from '../domain/pull-failure.ts';
import { USUAL_CHANGES } from '../domain/pull-width.ts';
import { rankOf } from '../domain/rank.ts';
import { fittingNodes } from '../domain/runtime-class.ts';
import { compileTaskChoice, taskNodesInParts } from '../domain/task-nodes.ts';
import {
  cancelledStatus,
  type PresenceOf,
  type Progress,
  planBatch,
  taskProgressInParts,
  wantedNodes,
} from '../domain/task-progress.ts';
import { nextTryMs } from '../domain/task-tries.ts';
import { jobName, SPEC_HASH_ANNOTATION, type WarmerOptions, warmerJob } from '../domain/warmer-job.ts';
import type { KubeClient } from '../kube/client.ts';
import { ignoreNotFound, isConflict, isRefused } from '../kube/errors.ts';
import { type Informer, keyOf } from '../kube/informer.ts';
import { createPace, inTurns } from '../kube/pace.ts';
import { RESOURCES } from '../kube/resources.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { BatchWatch } from './batch-watch.ts';
import { createEndCancelled } from './end-cancelled.ts';
import { createPlanFence } from './plan-fence.ts';
import type { TaskShares } from './task-shares.ts';
import { type Turn, type Turns, taskLock } from './turns.ts';
import { type Again, soonest } from './work-queue.ts';

export type TaskReconcilerOptions = {
  client: Pick<KubeClient, 'get' | 'remove'>;
  tasks: Informer<PrewarmTask>;
  nodes: Pick<NodeIndex, 'all' | 'fitting' | 'unwell' | 'keys'>;
  /** Of the images on those nodes. */
  sizes: ImageSizes;
  presence: PresenceOf;
  listed: ImageIndex['listed'];
  /** Whether a node listed an image before, and no more. */
  lost: ImageIndex['lost'];
  collectedUnitMs: number;
  runtimeClasses: Informer<RuntimeClass>;
  jobs: Informer<Job>;
  batchWatch: BatchWatch;
  matcherOf: (task: PrewarmTask) => NodeMatcher;
  turns: Turns;
  shares: TaskShares;
  warmer: WarmerOptions & StrategyOptions;
  metrics: Metrics;
  now: () => Date;
  log: Logger;
};

/** Numbers that moved are written this seldom; batches and phases at once. */
const PROGRESS_EVERY_MS = 10_000;
/** How soon to look again at warmers that wait: pods' Events are read, not watched. */
const LOOK_AGAIN_MS = 1_000;
/** Of thousands of nodes a plan takes 20 ms, the first time more. */
export const PLAN_SLICE_MS = 2;
/** A time-out is noticed at most this late. */
const OPEN_BATCH_MS = 5_000;
/** Whoever waits for a place or for tokens is asked when there is room; this is for what nobody saw. */
const WAITING_MS = 15_000;
/** A task without an owner goes at most this late. */
const EXPIRY_CHECK_MS = 60_000;

/** Moves each task towards warm: rounds, batches, Jobs, and the record of what came of them. */
export function createTaskReconciler(options: TaskReconcilerOptions): (key: string) => Promise<Again> {
  const { client, tasks, jobs, turns, shares, presence, metrics, log, matcherOf } = options;
  const choices = new WeakMap<object, { runtimeClass: RuntimeClass | undefined; choice: NodeChoice }>();
  const written = new Map<string, number>();
  const warming = new Set<string>();
  const fence = createPlanFence(options);
  const removed = new WeakSet<Job>();
  const endCancelled = createEndCancelled({
    ...{ client, jobsOf: options.batchWatch.jobsOf, mayRemove: fence.mayRemove },
  });
  for (const reason of USUAL_REASONS) metrics.pullFailures.inc({ reason }, 0);
  for (const change of USUAL_CHANGES) metrics.widthChanges.inc(change, 0);

  return async function reconcile(key: string): Promise<Again> {
    const name = taskLock(key);
    const again = await turns.run(name, (turn) => look(key, turn));
    if (turns.owns(name)) return again;
    countActive(key, false);
    await shares.release(key);
    // Refused: another replica has it.
    return again && soonest(again, await endCancelled(tasks.get(key)));
  };

  async function look(key: string, turn: Turn): Promise<Again> {
    const task = tasks.get(key);
    if (!task || task.metadata.deletionTimestamp) return leave(key, turn);
    if (isExpired(task)) {
      const { namespace, name = '', uid } = task.metadata;
      await turn.write.remove(RESOURCES.tasks, namespace, name, { uid }).catch(ignoreNotFound);
      return leave(key, turn);
    }
    if (task.spec.cancelled) return cancel(key, task, turn);
    // At rest a look is enough, most of the time; else it is for one replica alone to look.
    if (!isAtRest(task)) await turn.own();
    return warm(key, task, turn);
  }

  async function warm(key: string, task: PrewarmTask, turn: Turn): Promise<Again> {
    const nowMs = options.now().getTime();
    const { outcomes, looking } = await options.batchWatch.outcomes(task, nowMs);
    const pace = createPace(PLAN_SLICE_MS);
    const sifting = taskNodesInParts({
      ...{ task, nodes: options.nodes.all(), fits: matcherOf(task), known: knownOf(task) },
      ...{ choice: () => choiceOf(task), sizes: options.sizes, presence, listed: options.listed },
      strategies: options.warmer,
    });
    const nodes = await inTurns(sifting, pace);
    await pace();
    const standing = taskProgressInParts({
      task,
      ...nodes,
      known: options.nodes.keys(),
      ...{ presence, lost: options.lost, collectedUnitMs: options.collectedUnitMs },
      outcomes,
      nowMs,
    });
    const progress = await inTurns(standing, pace);
    // Two Jobs must not do the same work on a node: it waits until what is left of the last one is gone.
    const winding = options.batchWatch.nodesWinding(task, nowMs);
    const free = progress.cold.filter((node) => !winding.has(node.metadata.name ?? ''));
    await cutBatch(turn, task, { ...progress, cold: free }, nowMs);
    const again = await record(turn, task, progress, nowMs).catch(async (error: unknown) => {
      // Where somebody's policy refuses our status, others must not wait for a slot that nothing comes of.
      const refused = turns.owns(taskLock(key)) && !isConflict(error);
      if (refused && !task.status?.batches?.length) await shares.release(key);
      throw error;
    });
    countActive(key, progress.status.phase === 'Warming');
    const current = tasks.get(key) ?? task;
    const open = current.status?.batches ?? [];
    for (const batch of open) await ensureJob(turn, current, batch);
    for (const { batch } of progress.closed) options.batchWatch.refuse(batch.jobName, undefined);
    const recordedNow = new Set(progress.closed.map(({ batch }) => batch.jobName));
    const completing = await removeStrays(turn, current, recordedNow, nowMs);
    if (progress.cold.length === 0 && open.length === 0) await shares.release(key);
    const waiting = shares.isWaiting(key) ? { afterMs: WAITING_MS } : undefined;
    const next =
      completing || winding.settling ? { afterMs: LOOK_AGAIN_MS } : nextLook(current, looking, nowMs);
    return soonest(soonest(again, waiting), next);
  }

  function knownOf({ spec: { nodeRequirements = {}, runtimeClassName: name } }: PrewarmTask): KnownNodes {
    const runtimeClass = options.runtimeClasses.get(name ?? '');
    const fitting = fittingNodes(options.nodes, nodeRequirements, name, runtimeClass);
    return { fitting, unwell: options.nodes.unwell() };
  }

  function choiceOf(task: PrewarmTask): NodeChoice {
    const runtimeClass = options.runtimeClasses.get(task.spec.runtimeClassName ?? '');
    const known = choices.get(task.spec);
    if (known && known.runtimeClass === runtimeClass) return known.choice;
    const choice = compileTaskChoice(task.spec, runtimeClass);
    choices.set(task.spec, { runtimeClass, choice });
    return choice;
  }

  async function leave(key: string, turn: Turn): Promise<undefined> {
    written.delete(key);
    fence.forget(key);
    countActive(key, false);
    await shares.release(key);
    turn.finish();
  }

  /** A task made by hand goes some time after it finished; one with owners lives as long as they do. */
  function isExpired(task: PrewarmTask): boolean {
    const { finishedAt } = task.status ?? {};
    if (task.metadata.ownerReferences?.length || !finishedAt) return false;
    const seconds = task.spec.ttlSecondsAfterFinished ?? DEFAULTS.ttlSecondsAfterFinished;
    return options.now().getTime() >= Date.parse(finishedAt) + seconds * 1000;
  }

  async function cancel(key: string, task: PrewarmTask, turn: Turn): Promise<Again> {
    for (const batch of task.status?.batches ?? []) await removeJob(turn, task, batch.jobName);
    for (const { metadata } of options.batchWatch.jobsOf(task))
      if (!metadata.deletionTimestamp) await removeJob(turn, task, metadata.name ?? '', metadata.uid);
    countActive(key, false);
    await shares.release(key);
    const nowMs = options.now().getTime();
    if (task.status?.phase === 'Cancelled') return nextLook(task, false, nowMs);
    const status = cancelledStatus(task.status, nowMs);
    await write(turn, task, status);
    metrics.tasks.inc({ status: 'Cancelled' });
    return nextLook({ ...task, status }, false, nowMs);
  }

  /** Plans the next batch, as far as there are cold nodes, width and pull tokens; gives back the tokens of what ended. */
  async function cutBatch(turn: Turn, task: PrewarmTask, progress: Progress, nowMs: number): Promise<void> {
    const { running, status } = progress;
    const wanted = wantedNodes(progress, nowMs);
    if (wanted > 0) await turn.own();
    const open = (status.batches ?? []).length > 0;
    const count = await shares.claim(task, {
      open,
      running,
      wanted,
      rank: rankOf({ ...task, status }, nowMs),
    });
    if (count === 0) return;
    const nameOf = (round: number, batch: number, attempt: number) =>
      jobName(task.metadata.uid ?? '', round, batch, attempt);
    const strategyHere = (node: KubernetesNode) => strategyOf(node, options.warmer);
    planBatch(task, progress, {
      ...{ count, presence, nowMs, nameOf },
      strategyOf: strategyHere,
    });
  }

  /** Writes the status before anything is made or removed because of it: a restart must find every Job. */
  async function record(turn: Turn, task: PrewarmTask, progress: Progress, nowMs: number): Promise<Again> {
    const key = keyOf(task);
    const before = task.status ?? {};
    const after = progress.status;
    if (stableJson(before) === stableJson(after)) return undefined;
    const weighty =
      before.phase !== after.phase ||
      jobNames(before) !== jobNames(after) ||
      before.retryAt !== after.retryAt;
    const waitMs = (written.get(key) ?? 0) + PROGRESS_EVERY_MS - nowMs;
    if (!weighty && waitMs > 0) return { afterMs: waitMs };
    await write(turn, task, after);
    written.set(key, nowMs);
    count(task, before, progress, nowMs);
    return progress.cold.length > 0 ? { afterMs: 1 } : undefined;
  }

  async function write(turn: Turn, task: PrewarmTask, status: PrewarmTaskStatus): Promise<void> {
    const sentMs = performance.now();
    tasks.put(await turn.write.replaceStatus<PrewarmTask>(RESOURCES.tasks, { ...task, status }));
    fence.wrote(task, status, sentMs);
  }

  async function ensureJob(turn: Turn, task: PrewarmTask, batch: OpenBatch): Promise<void> {
    const { namespace } = task.metadata;
    if (jobs.get(`${namespace}/${batch.jobName}`)) return;
    if (!(await isToBeMade(task, batch))) return;
    await turn.own();
    try {
      jobs.put(await turn.write.create(RESOURCES.jobs, namespace, warmerJob(task, batch, options.warmer)));
      options.batchWatch.refuse(batch.jobName, undefined);
      metrics.jobCreation.inc({ result: 'created' });
      log.info(
        {
          ...{ task: task.metadata.name, namespace, job: batch.jobName },
          ...{ nodes: batch.nodes.length, strategy: batch.strategy },
        },
        'job created',
      );
    } catch (error) {
      metrics.jobCreation.inc({ result: isConflict(error) ? 'exists' : 'error' });
      if (isConflict(error)) {
        await adoptJob(task, batch);
        return;
      }
      // A batch that may not be made ends with that reason; the task goes on with its tries.
      if (!isRefused(error)) throw error;
      log.warn({ err: error, task: task.metadata.name, namespace, job: batch.jobName }, 'job refused');
      options.batchWatch.refuse(batch.jobName, error.message);
    }
  }

  async function isToBeMade(task: PrewarmTask, batch: OpenBatch): Promise<boolean> {
    const planner = await fence.plannedBy(task, batch.jobName);
    // Whoever else planned it may have made its Job as well.
    return planner === 'us' || (planner === 'somebody' && !(await adoptJob(task, batch)));
  }

  /**
   * Takes the Job of this name for ours, where there is one. Its name is a hash of what it is for; one with this name and
   * another owner is somebody's mischief.
   */
  async function adoptJob(task: PrewarmTask, batch: OpenBatch): Promise<boolean> {
    const { namespace, uid } = task.metadata;
    const job = await client.get<Job>(RESOURCES.jobs, namespace, batch.jobName).catch(ignoreNotFound);
    if (!job) return false;
    const wanted = warmerJob(task, batch, options.warmer);
    const hash = (object: Job) => object.metadata.annotations?.[SPEC_HASH_ANNOTATION];
    const owned = job.metadata.ownerReferences?.some((owner) => owner.uid === uid);
    if (!owned || hash(job) !== hash(wanted))
      throw new Error(
        `Job ${namespace}/${batch.jobName} is not the one that this task planned; remove it to go on`,
      );
    jobs.put(job);
    return true;
  }

  async function removeJob(turn: Turn, task: PrewarmTask, name: string, uid?: string): Promise<void> {
    await turn.write.remove(RESOURCES.jobs, task.metadata.namespace, name, { uid }).catch(ignoreNotFound);
  }

  /**
   * Jobs of this task that its status does not know: their outcome is recorded, also by a replica that died then. Those
   * that are about to complete go when they have; true when there are such.
   */
  async function removeStrays(
    turn: Turn,
    task: PrewarmTask,
    recordedNow: ReadonlySet<string>,
    nowMs: number,
  ): Promise<boolean> {
    const known = new Set(task.status?.batches?.map((batch) => batch.jobName));
    let completing = false;
    for (const job of options.batchWatch.jobsOf(task)) {
      const { name = '', uid, deletionTimestamp } = job.metadata;
      if (known.has(name) || deletionTimestamp || removed.has(job)) continue;
      const ending = options.batchWatch.isAboutToComplete(job, nowMs);
      completing ||= ending;
      if (ending || !(recordedNow.has(name) || (await fence.mayRemove(task, name)))) continue;
      await removeJob(turn, task, name, uid);
      removed.add(job);
    }
    return completing;
  }

  function count(task: PrewarmTask, before: PrewarmTaskStatus, progress: Progress, nowMs: number): void {
    const { phase } = progress.status;
    for (const closed of progress.closed) countBatch(closed, nowMs);
    for (const change of progress.widthChanges) metrics.widthChanges.inc(change);
    if (progress.backedOff > 0) metrics.collected.inc(progress.backedOff);
    if (before.phase === 'Warming' && phase && phase !== 'Warming')
      countRound(task, progress.status, phase, nowMs);
  }

  function countActive(key: string, active: boolean): void {
    if (active) warming.add(key);
    else warming.delete(key);
    metrics.activeTasks.set(warming.size);
  }

  function countBatch({ batch, outcomes }: Progress['closed'][number], nowMs: number): void {
    metrics.batchDuration.observe((nowMs - Date.parse(batch.startedAt)) / 1000);
    for (const outcome of outcomes) {
      if (outcome.state !== 'ended') continue;
      metrics.nodesProcessed.inc({ result: outcome.failures.length > 0 ? 'failed' : 'warm' });
      metrics.imagesPulled.inc(outcome.warm.length);
      for (const { reason } of outcome.failures) metrics.pullFailures.inc({ reason: reasonKind(reason) });
    }
  }

  function countRound(task: PrewarmTask, status: PrewarmTaskStatus, phase: TaskPhase, nowMs: number): void {
    const seconds = (nowMs - Date.parse(status.startedAt ?? '')) / 1000;
    metrics.tasks.inc({ status: phase });
    metrics.taskDuration.observe({ status: phase }, seconds);
    const { namespace, name } = task.metadata;
    log.info(
      { task: name, namespace, phase, seconds, progress: status.progress, message: status.message },
      'round ended',
    );
  }

  function nextLook(task: PrewarmTask, looking: boolean, nowMs: number): Again {
    if (looking) return { afterMs: LOOK_AGAIN_MS };
    if (task.status?.batches?.length) return { afterMs: OPEN_BATCH_MS };
    const nextMs = nextTryMs(task.status ?? {}, nowMs);
    const expires = task.status?.finishedAt && !task.metadata.ownerReferences?.length;
    return soonest(
      nextMs !== undefined ? { afterMs: nextMs - nowMs + 1 } : undefined,
      expires ? { afterMs: EXPIRY_CHECK_MS } : undefined,
    );
  }
}

/** Nothing of it is under way; a look will tell whether that is still right. */
function isAtRest({ status }: PrewarmTask): boolean {
  if (!status?.phase || status.phase === 'Warming' || status.batches?.length) return false;
  return status.phase !== 'Pending' || !status.nodes?.eligible;
}

function jobNames(status: PrewarmTaskStatus): string {
  return (status.batches ?? []).map((batch) => batch.jobName).join();
}
