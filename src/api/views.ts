import type { KubernetesNode } from '../domain/kubernetes.ts';
import { nodeReadiness } from '../domain/node-matching.ts';
import { DEFAULTS, type PrewarmTask } from '../domain/prewarm-task.ts';
import type { PresenceOf } from '../domain/task-progress.ts';
import { warmNodes } from '../domain/warm-nodes.ts';
import { createPace } from '../kube/pace.ts';
import type { Node, Task, Workload } from './schemas.ts';

/** What the API tells, in a shape of its own that stays when the custom resource changes. Defaults are filled in. */

const NO_NODES = { eligible: 0, warm: 0, warming: 0, failed: 0 };

export function taskView(task: PrewarmTask): Task {
  const { metadata, spec } = task;
  const { nodeRequirements = {}, retry = {} } = spec;
  return present<Task>({
    namespace: metadata.namespace ?? '',
    name: metadata.name ?? '',
    uid: metadata.uid ?? '',
    createdAt: metadata.creationTimestamp ?? '',
    owners: (metadata.ownerReferences ?? []).map(({ apiVersion, kind, name }) => ({
      ...{ apiVersion, kind, name },
    })),
    cancelled: spec.cancelled ?? false,
    images: spec.images,
    nodeName: nodeRequirements.nodeName,
    nodeSelector: nodeRequirements.nodeSelector,
    nodeAffinity: nodeRequirements.nodeAffinity,
    tolerations: nodeRequirements.tolerations,
    os: nodeRequirements.os,
    maxNodes: spec.maxNodes,
    nodePreferences: spec.nodePreferences,
    imagePullSecrets: spec.imagePullSecrets,
    serviceAccountName: spec.serviceAccountName,
    runtimeClassName: spec.runtimeClassName,
    priority: spec.priority ?? DEFAULTS.priority,
    concurrentPulls: spec.concurrentPulls,
    timeoutSeconds: spec.timeoutSeconds ?? DEFAULTS.timeoutSeconds,
    retry: {
      limit: retry.limit ?? DEFAULTS.retryLimit,
      strategy: retry.strategy ?? 'exponential',
      delaySeconds: retry.delaySeconds ?? DEFAULTS.retryDelaySeconds,
    },
    ttlSecondsAfterFinished: spec.ttlSecondsAfterFinished,
    notifiers: spec.notifiers,
    status: statusView(task),
  });
}

function statusView({ spec, status = {} }: PrewarmTask): Task['status'] {
  return present<Task['status']>({
    phase: status.phase ?? 'Pending',
    message: status.message,
    nodes: status.nodes ?? NO_NODES,
    round: status.round ?? 0,
    width: status.width,
    widthReason: status.widthReason,
    wantsSince: status.wantsSince,
    startedAt: status.startedAt,
    finishedAt: status.finishedAt,
    lastWarmedAt: status.lastWarmedAt,
    retryAt: status.retryAt,
    batches: (status.batches ?? []).map(({ jobName, round, batch, attempt, nodes, images, startedAt }) => ({
      ...{ jobName, round, batch, attempt, nodes, startedAt },
      images: images.flatMap((index) => spec.images[index]?.image ?? []),
    })),
    failures: status.failures ?? [],
    failureCount: status.failureCount ?? 0,
    failedImages: status.failedImages ?? [],
  });
}

/**
 * The workloads that own tasks: what is told of them stands in those tasks, so whoever may list these learns nothing
 * more here.
 */
export function workloadViews(tasks: PrewarmTask[]): Workload[] {
  return tasks.flatMap(({ metadata, spec, status = {} }) =>
    (metadata.ownerReferences ?? []).map(({ apiVersion, kind, name }) => ({
      namespace: metadata.namespace ?? '',
      apiVersion,
      kind,
      name,
      task: metadata.name ?? '',
      images: spec.images.map(({ image }) => image),
      status: present<Workload['status']>({
        phase: status.phase ?? 'Pending',
        message: status.message,
        nodes: status.nodes ?? NO_NODES,
        lastWarmedAt: status.lastWarmedAt,
      }),
    })),
  );
}

/** What is warm on each node: of the images of these tasks, those that are there. Gives others the event loop meanwhile. */
export async function nodeViews(
  nodes: KubernetesNode[],
  tasks: PrewarmTask[],
  presence: PresenceOf,
): Promise<Node[]> {
  const found = new Map(nodes.map((node) => [node, new Set<string>()]));
  const pace = createPace();
  for (const { spec, status } of tasks) {
    const warm = warmNodes(spec, status?.warmed ?? [], presence);
    for (const [node, images] of found)
      for (const [index, { image }] of spec.images.entries()) if (warm.has(node, index)) images.add(image);
    await pace();
  }
  return [...found].map(([node, images]) => {
    const message = nodeReadiness(node);
    return present<Node>({
      name: node.metadata.name ?? '',
      ready: message === undefined,
      message,
      images: [...images].sort(),
    });
  });
}

/** Without the fields that have no value. */
function present<T extends object>(fields: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}
