import type { Ask } from '../coordination/grant.ts';
import type { Semaphore } from '../coordination/ports.ts';
import { TASK_LABEL } from '../domain/annotations.ts';
import { ranToItsEnd } from '../domain/batch-outcome.ts';
import type { Job, KubernetesObject, Pod } from '../domain/kubernetes.ts';
import type { OpenBatch, PrewarmTask } from '../domain/prewarm-task.ts';
import { JOB_NAME } from '../domain/trim-warmer.ts';
import { type Informer, keyOf } from '../kube/informer.ts';

/** What a task has of what all tasks share: one of the places of those that warm, and tokens, one for each warmer. */
export type TaskShares = {
  /** Tells what the task has, and gives how many warmers it may start now, up to `wanted`. */
  claim(task: PrewarmTask, ask: TaskAsk): Promise<number>;
  /**
   * Gives back everything: also where another replica has the task now, which tells what it holds itself, or nothing,
   * where all was done when it came.
   */
  release(key: string): Promise<void>;
  isWaiting(key: string): boolean;
  /** The task looks different from how it did: where it uses less than before, there may be room for those that wait. */
  taskChanged(before: PrewarmTask | undefined, after: PrewarmTask | undefined): void;
  jobChanged(before: Job | undefined, after: Job | undefined): void;
  podChanged(before: Pod | undefined, after: Pod | undefined): void;
  /** Gives back what the tasks of this replica have; what runs still is seen by the others. */
  stop(): Promise<void>;
};

export type TaskAsk = {
  /** Whether a batch of it is open. */
  open: boolean;
  running: number;
  wanted: number;
  rank: number;
};

export type TaskSharesOptions = {
  /** Of tasks that warm. */
  slots: Semaphore;
  /** Of warmers that pull. */
  tokens: Semaphore;
  tasks: Pick<Informer<PrewarmTask>, 'values'>;
  jobs: Pick<Informer<Job>, 'get'>;
  pods: Pick<Informer<Pod>, 'values'>;
  /** So many of each namespace are asked at a time when there is room, best first. */
  askAtOnce: number;
  ask(key: string): void;
};

/** What another replica's task no longer uses is free when that replica has told so. */
const TOLD_MS = 250;

type Waiting = { rank: number; namespace: string };

export function createTaskShares(options: TaskSharesOptions): TaskShares {
  const { slots, tokens, tasks, jobs, pods } = options;
  /** The tasks of this replica, with the warmers that it knows to run, and those of them that may warm. */
  const told = new Map<string, number>();
  const active = new Set<string>();
  const waiting = new Map<string, Waiting>();
  let timer: { id: NodeJS.Timeout; dueMs: number } | undefined;

  /** How many warmers of each Job have their images; the Job itself tells so a while later. */
  function pulled(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const pod of pods.values()) {
      const { namespace, labels } = pod.metadata;
      const job = `${namespace}/${labels?.[JOB_NAME]}`;
      if (ranToItsEnd(pod)) counts.set(job, (counts.get(job) ?? 0) + 1);
    }
    return counts;
  }

  /** By what the cluster shows, for tasks of other replicas, and those whose replica has ended. */
  function elsewhere(key: string): { active: Map<string, number>; running: Map<string, number> } {
    const ended = pulled();
    const others = { active: new Map<string, number>(), running: new Map<string, number>() };
    for (const task of tasks.values()) {
      const batches = task.status?.batches ?? [];
      const other = keyOf(task);
      if (batches.length === 0 || other === key) continue;
      others.active.set(other, 1);
      const unfinished = ({ jobName, nodes }: OpenBatch): number => {
        const name = `${task.metadata.namespace}/${jobName}`;
        const job = jobs.get(name);
        return Math.min(job ? unfinishedOf(job) : nodes.length, nodes.length - (ended.get(name) ?? 0));
      };
      const seen = () => batches.reduce((all, batch) => all + unfinished(batch), 0);
      others.running.set(other, told.get(other) ?? seen());
    }
    return others;
  }

  /** Whether a warmer or its Job is of a task of this replica. */
  function isTold({ metadata: { namespace, labels } }: KubernetesObject = { metadata: {} }): boolean {
    return told.has(`${namespace}/${labels?.[TASK_LABEL]}`);
  }

  function wake(afterMs: number): void {
    if (waiting.size === 0) return;
    const dueMs = performance.now() + afterMs;
    if (timer && timer.dueMs <= dueMs) return;
    clearTimeout(timer?.id);
    timer = { dueMs, id: setTimeout(askBest, afterMs) };
  }

  function askBest(): void {
    timer = undefined;
    const asked = new Map<string, number>();
    for (const [key, { namespace }] of [...waiting].sort(([, a], [, b]) => a.rank - b.rank)) {
      const count = asked.get(namespace) ?? 0;
      if (count >= options.askAtOnce) continue;
      asked.set(namespace, count + 1);
      options.ask(key);
    }
  }

  function note(key: string, running: number): void {
    const before = told.get(key) ?? 0;
    told.set(key, running);
    if (running < before) wake(0);
  }

  async function release(key: string): Promise<void> {
    if (!told.has(key)) return;
    told.delete(key);
    active.delete(key);
    waiting.delete(key);
    await Promise.all([tokens.release(key), slots.release(key)]);
    wake(0);
  }

  /** Whoever warms keeps its place until nothing is left to do. */
  async function mayWarm(key: string, ask: Omit<Ask, 'held' | 'wanted'>, open: boolean): Promise<boolean> {
    const held = open || active.has(key) ? 1 : 0;
    const got = await slots.claim(key, { ...ask, held, wanted: 1 - held });
    if (held + got > 0) active.add(key);
    return active.has(key);
  }

  return {
    async claim(task, { open, running, wanted, rank }) {
      const key = keyOf(task);
      // Who does not ask has no place in the queue: it would be kept free for nothing.
      if (wanted <= 0 && !open) {
        await release(key);
        return 0;
      }
      const { namespace = '' } = task.metadata;
      const others = elsewhere(key);
      const ask = { rank, group: namespace };
      told.set(key, told.get(key) ?? running);
      const turn = await mayWarm(key, { ...ask, elsewhere: others.active }, open);
      const more = { held: running, wanted: turn ? wanted : 0, elsewhere: others.running };
      const granted = await tokens.claim(key, { ...ask, ...more });
      note(key, running + granted);
      if (granted < wanted) waiting.set(key, { rank, namespace });
      else waiting.delete(key);
      return granted;
    },
    release,
    isWaiting: (key) => waiting.has(key),
    taskChanged(before, after) {
      const count = (task: PrewarmTask | undefined) => task?.status?.batches?.length ?? 0;
      if (count(after) < count(before)) wake(0);
    },
    podChanged(before, after) {
      if (!isTold(after) && ranToItsEnd(after) && !ranToItsEnd(before)) wake(TOLD_MS);
    },
    jobChanged(before, after) {
      if (isTold(after ?? before)) return;
      const count = (job: Job | undefined) => (job ? unfinishedOf(job) : 0);
      if (count(after) < count(before)) wake(TOLD_MS);
    },
    async stop() {
      waiting.clear();
      await Promise.all([...told.keys()].map(release));
      clearTimeout(timer?.id);
    },
  };
}

function unfinishedOf({ spec, status }: Job): number {
  return Math.max(0, (spec?.completions ?? 0) - (status?.succeeded ?? 0) - (status?.failed ?? 0));
}
