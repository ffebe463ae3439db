import { TASK_LABEL } from './annotations.ts';
import type { ContainerStatus, Job, KubernetesObject, ObjectMeta, Pod } from './kubernetes.ts';
import { COMPLETION_INDEX } from './pinning.ts';
import { sharedCopy } from './shared-copy.ts';

/** The label by which the Job controller marks a Job's pods. */
export const JOB_NAME = 'batch.kubernetes.io/job-name';

const LABELS = [TASK_LABEL, JOB_NAME, COMPLETION_INDEX];
/** What no two of them have in common. */
const OWN = [
  ...['name', 'uid', 'resourceVersion', 'deletionTimestamp', 'nodeName', 'message', 'startedAt'],
  ...['completedIndexes', 'failedIndexes'],
];

/** Keeps of a warmer's pod what IPS uses: of thousands of nodes there are thousands at once, where Jobs stay. */
export function trimWarmer(object: KubernetesObject): Pod {
  const { metadata, spec, status = {} } = object as Pod;
  const { phase, reason, message, initContainerStatuses, containerStatuses } = status;
  const kept = {
    metadata: metadataOf(metadata),
    spec: { nodeName: spec?.nodeName },
    status: {
      ...{ phase, reason, message },
      initContainerStatuses: statesOf(initContainerStatuses),
      containerStatuses: statesOf(containerStatuses),
    },
  };
  return sharedCopy(kept, OWN) as Pod;
}

/** Keeps of a warmer's Job what IPS uses. */
export function trimJob(object: KubernetesObject): Job {
  const { metadata, spec, status = {} } = object as Job;
  const { active, succeeded, failed, completedIndexes, failedIndexes, conditions } = status;
  const kept = {
    metadata: metadataOf(metadata),
    spec: { completions: spec?.completions ?? 0 },
    status: {
      ...{ active, succeeded, failed, completedIndexes, failedIndexes },
      conditions: conditions?.map(({ type, status: is, reason, message }) => ({
        type,
        status: is,
        reason,
        message,
      })),
    },
  };
  return sharedCopy(kept, OWN) as Job;
}

function metadataOf({ labels = {}, ...metadata }: ObjectMeta): object {
  const { name, namespace, uid, resourceVersion, deletionTimestamp, ownerReferences } = metadata;
  const used = LABELS.filter((label) => Object.hasOwn(labels, label)).map((label) => [label, labels[label]]);
  return {
    ...{ name, namespace, uid, resourceVersion, deletionTimestamp },
    labels: Object.fromEntries(used),
    ownerReferences: ownerReferences?.map((owner) => ({
      kind: owner.kind,
      name: owner.name,
      uid: owner.uid,
    })),
  };
}

function statesOf(statuses: ContainerStatus[] | undefined): object[] {
  return (statuses ?? []).map(({ name, image, state }) => ({ name, image, state }));
}
