import { TASK_LABEL } from '../domain/annotations.ts';
import { batchOutcomes, type NodeOutcome, needsEvents } from '../domain/batch-outcome.ts';
import type { Event, Job, KubernetesNode, Pod } from '../domain/kubernetes.ts';
import { COMPLETION_INDEX } from '../domain/pinning.ts';
import { DEFAULTS, type OpenBatch, type PrewarmTask } from '../domain/prewarm-task.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Informer } from '../kube/informer.ts';
import { RESOURCES } from '../kube/resources.ts';

/** The label by which the Job controller marks a Job's pods. */
const JOB_NAME = 'batch.kubernetes.io/job-name';

export type BatchWatch = {
  /** What became of each node of the task's open batches, by Job name; `looking`: some of it takes another look. */
  outcomes(
    task: PrewarmTask,
    nowMs: number,
  ): Promise<{ outcomes: Map<string, NodeOutcome[]>; looking: boolean }>;
  jobsOf(task: PrewarmTask): Job[];
};

export function createBatchWatch(options: {
  client: KubeClient;
  jobs: Informer<Job>;
  pods: Informer<Pod>;
  nodes: Informer<KubernetesNode>;
}): BatchWatch {
  const { client, jobs, pods, nodes } = options;

  function podsOf(batch: OpenBatch, namespace: string): Map<number, Pod> {
    const byIndex = new Map<number, Pod>();
    for (const pod of pods.values()) {
      const { labels, namespace: where } = pod.metadata;
      if (labels?.[JOB_NAME] !== batch.jobName || where !== namespace) continue;
      byIndex.set(Number(labels[COMPLETION_INDEX]), pod);
    }
    return byIndex;
  }

  async function eventsOf(pod: Pod): Promise<Event[]> {
    const fieldSelector = `involvedObject.uid=${pod.metadata.uid}`;
    return (await client.list<Event>(RESOURCES.events, pod.metadata.namespace, { fieldSelector })).items;
  }

  async function outcomesOf(
    task: PrewarmTask,
    batch: OpenBatch,
    nowMs: number,
  ): Promise<{ outcomes: NodeOutcome[]; looking: boolean }> {
    const namespace = task.metadata.namespace ?? '';
    const podsByIndex = podsOf(batch, namespace);
    const stuck = [...podsByIndex.values()].filter(needsEvents);
    const events = await Promise.all(
      stuck.map(async (pod) => [pod.metadata.uid ?? '', await eventsOf(pod)] as const),
    );
    const outcomes = batchOutcomes(batch, task.spec.images, {
      job: jobs.get(`${namespace}/${batch.jobName}`),
      pods: podsByIndex,
      events: new Map(events),
      node: (name) => nodes.get(name),
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
    jobsOf(task) {
      return jobs.values().filter((job) => {
        const { labels, ownerReferences } = job.metadata;
        const owned = ownerReferences?.some((owner) => owner.uid === task.metadata.uid);
        return labels?.[TASK_LABEL] === task.metadata.name && owned;
      });
    },
  };
}
