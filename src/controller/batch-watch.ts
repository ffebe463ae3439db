import { TASK_LABEL } from '../domain/annotations.ts';
import { batchOutcomes, type NodeOutcome, needsEvents } from '../domain/batch-outcome.ts';
import { isAboutToComplete, mayStartPods } from '../domain/job-end.ts';
import type { Event, Job, KubernetesNode, Pod } from '../domain/kubernetes.ts';
import { COMPLETION_INDEX } from '../domain/pinning.ts';
import { DEFAULTS, type OpenBatch, type PrewarmTask } from '../domain/prewarm-task.ts';
import { JOB_NAME } from '../domain/trim-warmer.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Informer } from '../kube/informer.ts';
import { RESOURCES } from '../kube/resources.ts';

export type BatchWatch = {
  /** What became of each node of the task's open batches, by Job name; `looking`: some of it takes another look. */
  outcomes(
    task: PrewarmTask,
    nowMs: number,
  ): Promise<{ outcomes: Map<string, NodeOutcome[]>; looking: boolean }>;
  jobsOf(task: PrewarmTask): Job[];
  /**
   * The nodes where a warmer of a batch that is recorded already has not ended yet; every node, where one may yet begin:
   * by a Job of a task of this name that was there before, and that the garbage collector has not removed yet, or a
   * moment ago. `settling`: nothing will tell when that moment is over.
   */
  nodesWinding(task: PrewarmTask, nowMs: number): { has(node: string): boolean; settling: boolean };
  /** There was a break: what was not seen before this moment may have happened. */
  lookAfresh(nowMs: number): void;
  /** Whether a Job ends well by itself in a moment, see job-end.ts. */
  isAboutToComplete(job: Job, nowMs: number): boolean;
  /** Notes that the API server would not have a batch's Job; undefined takes that back. */
  refuse(jobName: string, message: string | undefined): void;
};

const everywhere = () => true;
/** Of what is remembered of tasks that may have gone. */
const MAX_REMEMBERED = 1_000;
/** After the end of a Job its controller may not know of it yet, and of the pods that it made last our watch may not. */
const SETTLE_MS = 2_000;
/** Pods are made within seconds: only then is it worth asking why there are none. */
const LOOK_FOR_REFUSAL_MS = 10_000;

export function createBatchWatch(options: {
  client: KubeClient;
  jobs: Informer<Job>;
  pods: Informer<Pod>;
  nodes: Informer<KubernetesNode>;
}): BatchWatch {
  const { client, jobs, pods, nodes } = options;
  const refused = new Map<string, string>();
  /** When Jobs of a task's predecessor were last there, by the uid of the task. */
  const predecessorsMs = new Map<string, number>();
  let lookingSinceMs = 0;

  function podsOf(jobName: string, namespace: string): Map<number, Pod> {
    const byIndex = new Map<number, Pod>();
    for (const pod of pods.values()) {
      const { labels, namespace: where } = pod.metadata;
      if (labels?.[JOB_NAME] !== jobName || where !== namespace) continue;
      byIndex.set(Number(labels[COMPLETION_INDEX]), pod);
    }
    return byIndex;
  }

  async function eventsOf(pod: Pod): Promise<Event[]> {
    const fieldSelector = `involvedObject.uid=${pod.metadata.uid}`;
    return (await client.list<Event>(RESOURCES.events, pod.metadata.namespace, { fieldSelector })).items;
  }

  /** A quota, a LimitRange or an unreachable webhook shows in the Job's Events only, not in its status. */
  async function refusalOf(
    batch: OpenBatch,
    namespace: string,
    found: number,
    nowMs: number,
  ): Promise<string | undefined> {
    const told = refused.get(batch.jobName);
    if (told || found >= batch.nodes.length) return told;
    if (nowMs - Date.parse(batch.startedAt) < LOOK_FOR_REFUSAL_MS) return undefined;
    const fieldSelector = `involvedObject.kind=Job,involvedObject.name=${batch.jobName},reason=FailedCreate`;
    const { items } = await client.list<Event>(RESOURCES.events, namespace, { fieldSelector });
    return items.at(-1)?.message;
  }

  async function outcomesOf(
    task: PrewarmTask,
    batch: OpenBatch,
    nowMs: number,
  ): Promise<{ outcomes: NodeOutcome[]; looking: boolean }> {
    const namespace = task.metadata.namespace ?? '';
    const podsByIndex = podsOf(batch.jobName, namespace);
    const stuck = [...podsByIndex.values()].filter(needsEvents);
    const events = await Promise.all(
      stuck.map(async (pod) => [pod.metadata.uid ?? '', await eventsOf(pod)] as const),
    );
    const outcomes = batchOutcomes(batch, task.spec.images, {
      job: jobs.get(`${namespace}/${batch.jobName}`),
      pods: podsByIndex,
      events: new Map(events),
      refusal: await refusalOf(batch, namespace, podsByIndex.size, nowMs),
      node: (name) => nodes.get(name),
      lookingSinceMs,
      nowMs,
      timeoutMs: (task.spec.timeoutSeconds ?? DEFAULTS.timeoutSeconds) * 1000,
    });
    const looking = [...podsByIndex].some(
      ([index, pod]) => needsEvents(pod) && outcomes[index]?.state === 'running',
    );
    return { outcomes, looking };
  }

  return {
    async outcomes(task, nowMs) {
      const found = new Map<string, NodeOutcome[]>();
      let looking = false;
      for (const batch of task.status?.batches ?? []) {
        const each = await outcomesOf(task, batch, nowMs);
        found.set(batch.jobName, each.outcomes);
        looking ||= each.looking;
      }
      return { outcomes: found, looking };
    },
    refuse(jobName, message) {
      if (message === undefined) refused.delete(jobName);
      else refused.set(jobName, message);
      // Of tasks that went meanwhile. What is forgotten too much is noted again at the next try, seconds later.
      if (refused.size > MAX_REMEMBERED) refused.clear();
    },
    nodesWinding(task, nowMs) {
      const { uid = '' } = task.metadata;
      if (jobs.values().some((job) => isPredecessors(job, task) && mayStartPods(job))) {
        if (predecessorsMs.size > MAX_REMEMBERED) predecessorsMs.clear();
        predecessorsMs.set(uid, nowMs);
        return { has: everywhere, settling: false };
      }
      if (nowMs - (predecessorsMs.get(uid) ?? 0) < SETTLE_MS) return { has: everywhere, settling: true };
      predecessorsMs.delete(uid);
      const open = new Set(task.status?.batches?.map((batch) => batch.jobName));
      const left = pods.values().filter(({ metadata: { namespace, labels, ownerReferences }, status }) => {
        const ended = status?.phase === 'Succeeded' || status?.phase === 'Failed';
        const ours = labels?.[TASK_LABEL] === task.metadata.name && namespace === task.metadata.namespace;
        // One that nobody owns would be there for ever.
        return ours && !ended && ownerReferences?.length && !open.has(labels?.[JOB_NAME] ?? '');
      });
      const on = new Set(left.flatMap((pod) => pod.spec?.nodeName ?? []));
      return { has: (node) => on.has(node), settling: false };
    },
    lookAfresh(nowMs) {
      lookingSinceMs = nowMs;
    },
    isAboutToComplete(job, nowMs) {
      const { name = '', namespace = '' } = job.metadata;
      return isAboutToComplete(job, [...podsOf(name, namespace).values()], nowMs);
    },
    jobsOf(task) {
      return jobs.values().filter((job) => {
        const { labels, ownerReferences } = job.metadata;
        const owned = ownerReferences?.some((owner) => owner.uid === task.metadata.uid);
        return labels?.[TASK_LABEL] === task.metadata.name && owned;
      });
    },
  };
}

/** A workload that opts out and in again has another task, of the same name. A Job that nobody owns would be there for ever. */
function isPredecessors({ metadata }: Job, task: PrewarmTask): boolean {
  const { name, namespace, uid } = task.metadata;
  if (metadata.labels?.[TASK_LABEL] !== name || metadata.namespace !== namespace) return false;
  return metadata.ownerReferences?.some((owner) => owner.name === name && owner.uid !== uid) ?? false;
}
