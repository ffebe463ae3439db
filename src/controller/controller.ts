import type { Logger } from 'pino';
import type { Coordination } from '../coordination/coordination.ts';
import { TASK_LABEL, WARMER_LABEL } from '../domain/annotations.ts';
import { fleetOf } from '../domain/fleet.ts';
import type { Job, KubernetesNode, KubernetesObject, Pod, RuntimeClass } from '../domain/kubernetes.ts';
import type { StrategyOptions } from '../domain/node-strategy.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { trimRuntimeClass } from '../domain/runtime-class.ts';
import type { PresenceOf } from '../domain/task-progress.ts';
import { trimJob, trimWarmer } from '../domain/trim-warmer.ts';
import type { WarmerOptions } from '../domain/warmer-job.ts';
import type { Workload } from '../domain/workload.ts';
import type { WorkloadType, WorkloadTypes } from '../domain/workload-types.ts';
import type { KubeClient } from '../kube/client.ts';
import { ignoreNotFound, isConflict, isNamespaceTerminating } from '../kube/errors.ts';
import { type Informer, keyOf } from '../kube/informer.ts';
import { RESOURCES } from '../kube/resources.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { createBatchWatch } from './batch-watch.ts';
import { createNodeChanges } from './node-changes.ts';
import { createNodeWatch } from './node-watch.ts';
import { resyncWorkloads } from './resync.ts';
import { createTaskMatchers } from './task-matchers.ts';
import { createTaskReconciler } from './task-reconciler.ts';
import { createTaskShares } from './task-shares.ts';
import { createTurns, taskOfLock } from './turns.ts';
import { createWatches } from './watches.ts';
import { createWorkQueue, type WorkQueue } from './work-queue.ts';
import { createWorkloadReconciler } from './workload-reconciler.ts';
import { createWorkloadWatches, ownerKeys, workloadKey } from './workload-watches.ts';

export type ControllerOptions = {
  client: KubeClient;
  types: WorkloadTypes;
  excludedNamespaces: readonly string[];
  maxActiveTasks: number;
  coordination: Pick<Coordination, 'lock' | 'tasks' | 'pulls' | 'onChange'> & {
    /** Whether there may be other replicas. */
    shared: boolean;
  };
  resyncSeconds: number;
  collectedRetrySeconds: number;
  warmer: WarmerOptions & StrategyOptions;
  metrics: Metrics;
  now: () => Date;
  log: Logger;
};

export type Controller = {
  start(): Promise<void>;
  stop(): Promise<void>;
  hasSynced(): boolean;
  /** The API server answers again: nothing that was missed waits for a time-out. */
  catchUp(awayMs: number): void;
  /** What is held in memory, for others to read. */
  tasks: Pick<Informer<PrewarmTask>, 'get' | 'values' | 'put'>;
  nodes: Pick<Informer<KubernetesNode>, 'values'>;
  /** What is known of an image on a node. */
  presence: PresenceOf;
};

/** A task of thousands of nodes has 30 kB and more. */
const TASKS_PAGE = 20;
/** After this long without the API server it may have been without our webhook as well, and missed opt-ins. */
const LONG_AWAY_MS = 3_000;
/** Watches are silent in a black hole as they are when nothing happens: only a question tells the two apart. */
const PING_EVERY_MS = 15_000;
/** A connection that comes and goes must not become list after list. */
const CATCH_UP_EVERY_MS = 60_000;
/**
 * Pods and Jobs change dozens of times a second, and to look at a task takes a millisecond for each few hundred nodes:
 * what comes together is looked at together.
 */
const MOST_SETTLE_MS = 200;
const NODES_A_SETTLE_MS = 25;
const RESYNC_LOCK = 'resync';
/** At a resync each task is looked at too, so far apart. */
const LOOK_EVERY_MS = 100;
/** A replica that looked after all workloads until it died left its lock behind, and perhaps what it had not seen. */
const RESYNC_ASK_MS = 60_000;

/** The level-triggered loops: workloads to tasks, tasks to Jobs, Jobs to status. Each looks at what is, not at what happened. */
export function createController(options: ControllerOptions): Controller {
  const { client, log, metrics, now } = options;
  const { lock } = options.coordination;
  const logError = (what: 'workload' | 'task') => (key: string, error: unknown) => {
    // Not a fault: somebody else wrote first, and reading again is the answer; or it will be gone in a moment.
    if (isConflict(error) || isNamespaceTerminating(error))
      log.debug({ err: error, key }, `${what}: not now, trying again`);
    else {
      metrics.reconcileErrors.inc({ kind: what });
      log.error({ err: error, key }, `${what} failed, trying again`);
    }
  };

  const watches = createWatches({ client, metrics, log });
  const { informer, hasSynced } = watches;
  const workloads = createWorkloadWatches({
    ...{ types: options.types, informer, metrics, log },
    onChange: (key) => workloadQueue.add(key),
    onAppeared: (type) => void resync([type]),
  });
  const watchedTasks = informer<PrewarmTask>({
    resource: RESOURCES.tasks,
    pageSize: TASKS_PAGE,
    trim: trimTask,
    onChange(key, before, after) {
      taskQueue.add(key);
      shares.taskChanged(before, after);
      for (const task of [before, after])
        for (const owner of task ? ownerKeys(options.types, task) : []) workloadQueue.add(owner);
    },
  });
  // What a write gives back is whole, and stays: the watch tells nothing new after it.
  const tasks = { ...watchedTasks, put: (task: PrewarmTask) => watchedTasks.put(trimTask(task)) };
  const warmerOwned = { labelSelector: `${WARMER_LABEL}=true` };
  const watchedJobs = informer<Job>({
    ...warmerOwned,
    resource: RESOURCES.jobs,
    trim: trimJob,
    onChange(_key, before, after) {
      addTaskOf(after ?? before);
      shares.jobChanged(before, after);
    },
  });
  const jobs = { ...watchedJobs, put: (job: Job) => watchedJobs.put(trimJob(job)) };
  const pods = informer<Pod>({
    ...warmerOwned,
    resource: RESOURCES.pods,
    trim: trimWarmer,
    onChange(_key, before, after) {
      addTaskOf(after ?? before);
      shares.podChanged(before, after);
    },
  });
  const { nodes, sizes, presence, listed, lost, ...ofNodes } = createNodeWatch(informer, (...change) =>
    nodeChanges.note(...change),
  );
  const runtimeClasses = informer<RuntimeClass>({
    resource: RESOURCES.runtimeClasses,
    trim: trimRuntimeClass,
    onChange(name) {
      for (const task of tasks.values()) if (task.spec.runtimeClassName === name) taskQueue.add(keyOf(task));
    },
  });

  function addTaskOf(object: KubernetesObject | undefined): void {
    const task = object?.metadata.labels?.[TASK_LABEL];
    if (!task) return;
    const key = `${object.metadata.namespace}/${task}`;
    const eligible = tasks.get(key)?.status?.nodes?.eligible ?? 0;
    taskQueue.add(key, Math.min(MOST_SETTLE_MS, Math.floor(eligible / NODES_A_SETTLE_MS)));
  }

  const shares = createTaskShares({
    ...{ slots: options.coordination.tasks, tokens: options.coordination.pulls },
    ...{ tasks, jobs, pods, askAtOnce: options.maxActiveTasks, ask: (key) => taskQueue.add(key) },
  });
  const turns = createTurns({
    ...{ client, lock, shared: options.coordination.shared },
    isBusy: (name) => isBusy(taskOfLock(name)),
    refresh: (name) => readTask(taskOfLock(name)),
  });
  const reconcileWorkload = createWorkloadReconciler({
    client,
    turns,
    workloads,
    tasks,
    excludedNamespaces: options.excludedNamespaces,
    now,
    log,
  });
  const matcherOf = createTaskMatchers(runtimeClasses);
  const batchWatch = createBatchWatch({ client, jobs, pods, nodes });
  const reconcileTask = createTaskReconciler({
    ...{
      client,
      tasks,
      nodes: ofNodes.index,
      sizes,
      presence,
      listed,
      lost,
      runtimeClasses,
      jobs,
      metrics,
      now,
      log,
    },
    ...{ batchWatch, matcherOf, turns, shares },
    collectedUnitMs: options.collectedRetrySeconds * 1000,
    warmer: options.warmer,
  });
  const workloadQueue: WorkQueue = createWorkQueue({
    reconcile: reconcileWorkload,
    onError: logError('workload'),
    concurrency: 4,
  });
  const taskQueue: WorkQueue = createWorkQueue({
    reconcile: reconcileTask,
    onError: logError('task'),
    concurrency: 4,
  });

  const nodeChanges = createNodeChanges({ tasks, fitsOf: matcherOf, sizes, queue: taskQueue });

  function isBusy(key: string | undefined): boolean {
    if (key === undefined) return false;
    return shares.isWaiting(key) || (tasks.get(key)?.status?.batches ?? []).length > 0;
  }

  async function readTask(key: string | undefined): Promise<void> {
    const [namespace, name] = key?.split('/') ?? [];
    if (!name) return;
    const task = await client.get<PrewarmTask>(RESOURCES.tasks, namespace, name).catch(ignoreNotFound);
    if (task) tasks.put(task);
  }

  metrics.fleet.source(() => ({
    watches: watches.states(),
    fleet: hasSynced() ? fleetOf(wanted(), tasks.values()) : undefined,
  }));

  function wanted(): Workload[] {
    return workloads
      .values()
      .filter(({ metadata }) => !options.excludedNamespaces.includes(metadata.namespace ?? ''));
  }

  function lookAtWorkloads(): void {
    for (const workload of workloads.values()) workloadQueue.add(workloadKey(workload));
  }

  options.coordination.onChange(() => {
    // Where nothing was refused nothing waits: a server that comes and goes must not have all looked at each time.
    const names = turns.askAnew();
    for (const name of names) {
      const key = taskOfLock(name);
      if (key !== undefined) taskQueue.add(key);
    }
    if (names.length > 0) lookAtWorkloads();
  });

  let resyncTimer: NodeJS.Timeout | undefined;
  let catchUpTimer: NodeJS.Timeout | undefined;
  let pingTimer: NodeJS.Timeout | undefined;
  let stopped = false;
  let resyncedMs = 0;
  /** One replica is enough; it keeps the lock for the next time. */
  const resync = async (only?: WorkloadType[]): Promise<boolean> => {
    resyncedMs = performance.now();
    const ours = await lock.acquire(RESYNC_LOCK);
    if (ours) await resyncWorkloads(options, only);
    return ours;
  };
  const resyncAgain = async (): Promise<void> => {
    const everyMs = options.resyncSeconds * 1000;
    // One after another: what time alone changes, and what no change of a node told.
    for (const [index, task] of tasks.values().entries())
      taskQueue.add(keyOf(task), (index + 1) * LOOK_EVERY_MS);
    const afterMs = (await resync()) ? everyMs : Math.min(everyMs, RESYNC_ASK_MS);
    if (!stopped) resyncTimer = setTimeout(resyncAgain, afterMs);
  };

  return {
    async start() {
      // Decisions wait until everything that they rest on has been listed.
      workloadQueue.pause();
      taskQueue.pause();
      await watches.start();
      batchWatch.lookAfresh(now().getTime());
      workloadQueue.resume();
      taskQueue.resume();
      log.info({ workloads: workloads.values().length, tasks: tasks.values().length }, 'synced');
      await resyncAgain();
      pingTimer = setInterval(() => client.ping().catch(() => {}), PING_EVERY_MS); // the client notes what comes of it
    },
    async stop() {
      stopped = true;
      clearTimeout(resyncTimer);
      nodeChanges.stop();
      clearTimeout(catchUpTimer);
      clearInterval(pingTimer);
      watches.stop();
      await Promise.all([workloadQueue.stop(), taskQueue.stop()]);
      await Promise.all([shares.stop(), turns.stop()]);
    },
    catchUp(awayMs) {
      if (!resyncTimer || awayMs < LONG_AWAY_MS) return;
      log.info({ seconds: awayMs / 1000 }, 'the API server answers again');
      batchWatch.lookAfresh(now().getTime());
      watches.rewatch();
      for (const task of tasks.values()) taskQueue.add(keyOf(task));
      lookAtWorkloads();
      clearTimeout(catchUpTimer);
      catchUpTimer = setTimeout(
        () => void resync(),
        Math.max(1_000, resyncedMs + CATCH_UP_EVERY_MS - performance.now()) * (1 + Math.random()),
      );
    },
    hasSynced,
    tasks,
    nodes,
    presence,
  };
}

function trimTask({ metadata: { managedFields: _, ...metadata }, ...rest }: KubernetesObject): PrewarmTask {
  return { ...(rest as PrewarmTask), metadata };
}
