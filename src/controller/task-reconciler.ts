import type { Logger } from 'pino';
import type { PullTokens, TaskClaims } from '../coordination/ports.ts';
import { nextCollectedTryMs } from '../domain/collected.ts';
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
import { compileRuntimeMatcher, fittingNodes } from '../domain/runtime-class.ts';
import { compileTaskChoice, taskNodes } from '../domain/task-nodes.ts';
import {
  cancelledStatus,
  type PresenceOf,
  type Progress,
  planBatch,
  taskProgress,
  wantedNodes,
} from '../domain/task-progress.ts';
import { jobName, SPEC_HASH_ANNOTATION, type WarmerOptions, warmerJob } from '../domain/warmer-job.ts';
import type { KubeClient } from '../kube/client.ts';
import { isConflict, isNotFound, isRefused } from '../kube/errors.ts';
import type { Informer } from '../kube/informer.ts';
import { RESOURCES } from '../kube/resources.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { BatchWatch } from './batch-watch.ts';
import { createPlanFence } from './plan-fence.ts';
import type { Again } from './work-queue.ts';

export type TaskReconcilerOptions = {
  client: KubeClient;
  tasks: Informer<PrewarmTask>;
  nodes: Pick<NodeIndex, 'all' | 'fitting' | 'unwell' | 'keys'>;
  /** Of the images on those nodes. */
  sizes: ImageSizes;
  presence: PresenceOf;
  /** Whether a node listed an image before, and no more. */
  lost: ImageIndex['lost'];
  collectedUnitMs: number;
  runtimeClasses: Informer<RuntimeClass>;
  jobs: Informer<Job>;
  batchWatch: BatchWatch;
  claims: TaskClaims;
  tokens: PullTokens;
  warmer: WarmerOptions & StrategyOptions;
  metrics: Metrics;
  now: () => Date;
  log: Logger;
};

/** Numbers that moved are written this seldom; batches and phases at once. */
const PROGRESS_EVERY_MS = 10_000;
/** How soon to look again at warmers that wait: pods' Events are read, not watched. */
const LOOK_AGAIN_MS = 1_000;
/** A time-out is noticed at most this late. */
const OPEN_BATCH_MS = 5_000;
/** A task without an owner goes at most this late. */
const EXPIRY_CHECK_MS = 60_000;

/** Moves each task towards warm: rounds, batches, Jobs, and the record of what came of them. */
export function createTaskReconciler(options: TaskReconcilerOptions): (key: string) => Promise<Again> {
  const { client, tasks, jobs, claims, tokens, presence, metrics, log } = options;
  const matchers = new WeakMap<object, { runtimeClass: RuntimeClass | undefined; fits: NodeMatcher }>();
  const choices = new WeakMap<object, { runtimeClass: RuntimeClass | undefined; choice: NodeChoice }>();
  const written = new Map<string, number>();
  const warming = new Set<string>();
  const fence = createPlanFence(options);
  const removed = new WeakSet<Job>();
  for (const reason of USUAL_REASONS) metrics.pullFailures.inc({ reason }, 0);
  for (const change of USUAL_CHANGES) metrics.widthChanges.inc(change, 0);

  return async function reconcile(key: string): Promise<Again> {
    const task = tasks.get(key);
    if (!task || task.metadata.deletionTimestamp) return leave(key);
    if (await expired(task)) return leave(key);
    if (task.spec.cancelled) return cancel(key, task);
    return warm(key, task);
  };

  async function warm(key: string, task: PrewarmTask): Promise<Again> {
    const nowMs = options.now().getTime();
    const { outcomes, looking } = await options.batchWatch.outcomes(task, nowMs);
    const nodes = taskNodes({
      ...{ task, nodes: options.nodes.all(), fits: matcherOf(task), known: knownOf(task) },
      ...{ choice: () => choiceOf(task), sizes: options.sizes, presence, strategies: options.warmer },
    });
    const progress = taskProgress({
      task,
      ...nodes,
      known: options.nodes.keys(),
      ...{ presence, lost: options.lost, collectedUnitMs: options.collectedUnitMs },
      outcomes,
      nowMs,
    });
    // Two Jobs must not do the same work on a node: it waits until what is left of the last one is gone.
    const winding = options.batchWatch.nodesWinding(task);
    const free = progress.cold.filter((node) => !winding.has(node.metadata.name ?? ''));
    await cutBatch(key, task, { ...progress, cold: free }, nowMs);
    const again = await record(key, task, progress, nowMs).catch(async (error: unknown) => {
      // Where somebody's policy refuses our status, others must not wait for a slot that nothing comes of.
      if (!isConflict(error) && !task.status?.batches?.length) await giveUp(key);
      throw error;
    });
    countActive(key, progress.status.phase === 'Warming');
    const current = tasks.get(key) ?? task;
    const open = current.status?.batches ?? [];
    for (const batch of open) await ensureJob(current, batch);
    for (const { batch } of progress.closed) options.batchWatch.refuse(batch.jobName, undefined);
    const recordedNow = new Set(progress.closed.map(({ batch }) => batch.jobName));
    const completing = await removeStrays(current, recordedNow, nowMs);
    if (progress.cold.length === 0 && open.length === 0) await giveUp(key);
    return soonest(again, completing ? { afterMs: LOOK_AGAIN_MS } : nextLook(current, looking, nowMs));
  }

  function matcherOf(task: PrewarmTask): NodeMatcher {
    const { nodeRequirements: requirements = {}, runtimeClassName: name } = task.spec;
    const runtimeClass = options.runtimeClasses.get(name ?? '');
    const known = matchers.get(requirements);
    if (known && known.runtimeClass === runtimeClass) return known.fits;
    const fits = compileRuntimeMatcher(requirements, name, runtimeClass);
    matchers.set(requirements, { runtimeClass, fits });
    return fits;
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

  async function giveUp(key: string): Promise<void> {
    await tokens.release(key);
    await claims.release(key);
  }

  async function leave(key: string): Promise<undefined> {
    written.delete(key);
    fence.forget(key);
    countActive(key, false);
    await giveUp(key);
  }

  /** A task made by hand goes some time after it finished; one with owners lives as long as they do. */
  async function expired(task: PrewarmTask): Promise<boolean> {
    const { finishedAt } = task.status ?? {};
    if (task.metadata.ownerReferences?.length || !finishedAt) return false;
    const seconds = task.spec.ttlSecondsAfterFinished ?? DEFAULTS.ttlSecondsAfterFinished;
    if (options.now().getTime() < Date.parse(finishedAt) + seconds * 1000) return false;
    const { namespace, name = '', uid } = task.metadata;
    await client.remove(RESOURCES.tasks, namespace, name, { uid }).catch(ignoreNotFound);
    return true;
  }

  async function cancel(key: string, task: PrewarmTask): Promise<Again> {
    for (const batch of task.status?.batches ?? []) await removeJob(task, batch.jobName);
    for (const { metadata } of options.batchWatch.jobsOf(task))
      if (!metadata.deletionTimestamp) await removeJob(task, metadata.name ?? '', metadata.uid);
    countActive(key, false);
    await giveUp(key);
    const nowMs = options.now().getTime();
    if (task.status?.phase === 'Cancelled') return nextLook(task, false, nowMs);
    const status = cancelledStatus(task.status, nowMs);
    await write(task, status);
    metrics.tasks.inc({ status: 'Cancelled' });
    return nextLook({ ...task, status }, false, nowMs);
  }

  /** Plans the next batch, as far as there are cold nodes, width and pull tokens; gives back the tokens of what ended. */
  async function cutBatch(key: string, task: PrewarmTask, progress: Progress, nowMs: number): Promise<void> {
    const { running, status } = progress;
    const wanted = wantedNodes(progress, nowMs);
    // Who does not ask has no place in the queue: it would be kept free for nothing.
    if (wanted <= 0 && !status.batches?.length) await claims.release(key);
    const turn = wanted > 0 && (await claims.claim(key, rankOf(task)));
    const count = await tokens.claim(key, running, turn ? wanted : 0);
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
  async function record(key: string, task: PrewarmTask, progress: Progress, nowMs: number): Promise<Again> {
    const before = task.status ?? {};
    const after = progress.status;
    if (stableJson(before) === stableJson(after)) return undefined;
    const weighty =
      before.phase !== after.phase ||
      jobNames(before) !== jobNames(after) ||
      before.retryAt !== after.retryAt;
    const waitMs = (written.get(key) ?? 0) + PROGRESS_EVERY_MS - nowMs;
    if (!weighty && waitMs > 0) return { afterMs: waitMs };
    await write(task, after);
    written.set(key, nowMs);
    count(task, before, progress, nowMs);
    return progress.cold.length > 0 ? { afterMs: 1 } : undefined;
  }

  async function write(task: PrewarmTask, status: PrewarmTaskStatus): Promise<void> {
    const sentMs = performance.now();
    tasks.put(await client.replaceStatus<PrewarmTask>(RESOURCES.tasks, { ...task, status }));
    fence.wrote(task, status, sentMs);
  }

  async function ensureJob(task: PrewarmTask, batch: OpenBatch): Promise<void> {
    const { namespace } = task.metadata;
    if (jobs.get(`${namespace}/${batch.jobName}`)) return;
    if (!(await fence.mayMake(task, batch.jobName))) return;
    try {
      jobs.put(await client.create(RESOURCES.jobs, namespace, warmerJob(task, batch, options.warmer)));
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
      if (isConflict(error)) return checkOurs(task, batch);
      // A batch that may not be made ends with that reason; the task goes on with its tries.
      if (!isRefused(error)) throw error;
      log.warn({ err: error, task: task.metadata.name, namespace, job: batch.jobName }, 'job refused');
      options.batchWatch.refuse(batch.jobName, error.message);
    }
  }

  /** The name of a Job is a hash of what it is for; one with this name and another owner is somebody's mischief. */
  async function checkOurs(task: PrewarmTask, batch: OpenBatch): Promise<void> {
    const { namespace, uid } = task.metadata;
    const job = await client.get<Job>(RESOURCES.jobs, namespace, batch.jobName);
    const wanted = warmerJob(task, batch, options.warmer);
    const hash = (object: Job) => object.metadata.annotations?.[SPEC_HASH_ANNOTATION];
    const owned = job.metadata.ownerReferences?.some((owner) => owner.uid === uid);
    if (owned && hash(job) === hash(wanted)) return jobs.put(job);
    throw new Error(
      `Job ${namespace}/${batch.jobName} is not the one that this task planned; remove it to go on`,
    );
  }

  async function removeJob(task: PrewarmTask, name: string, uid?: string): Promise<void> {
    await client.remove(RESOURCES.jobs, task.metadata.namespace, name, { uid }).catch(ignoreNotFound);
  }

  /**
   * Jobs of this task that its status does not know: their outcome is recorded, also by a replica that died then. Those
   * that are about to complete go when they have; true when there are such.
   */
  async function removeStrays(
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
      await removeJob(task, name, uid);
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
    const retryMs = Date.parse(task.status?.retryAt ?? '');
    const tries = [retryMs, nextCollectedTryMs(task.status?.collected, nowMs) ?? Number.NaN];
    const nextMs = Math.min(...tries.filter((ms) => ms >= nowMs)) - nowMs;
    const expires = task.status?.finishedAt && !task.metadata.ownerReferences?.length;
    return soonest(
      Number.isFinite(nextMs) ? { afterMs: nextMs + 1 } : undefined,
      expires ? { afterMs: EXPIRY_CHECK_MS } : undefined,
    );
  }
}

export function rankOf(task: PrewarmTask): { priority: number; sinceMs: number } {
  return {
    priority: task.spec.priority ?? DEFAULTS.priority,
    sinceMs: Date.parse(task.metadata.creationTimestamp ?? '') || 0,
  };
}

function jobNames(status: PrewarmTaskStatus): string {
  return (status.batches ?? []).map((batch) => batch.jobName).join();
}

function soonest(a: Again, b: Again): Again {
  return a && b ? { afterMs: Math.min(a.afterMs, b.afterMs) } : (a ?? b);
}

function ignoreNotFound(error: unknown): void {
  if (!isNotFound(error)) throw error;
}
