import { NODES_ANNOTATION, TASK_LABEL, WARMER_LABEL } from './annotations.ts';
import { sha256, stableJson } from './fingerprint.ts';
import type { KubernetesObject } from './kubernetes.ts';
import {
  DEFAULTS,
  type OpenBatch,
  type PrewarmTask,
  TASK_API_VERSION,
  type TaskImage,
} from './prewarm-task.ts';

export type WarmerOptions = {
  /** Prints its version and exits on `-v`, as the upstream pause image does. */
  workerImage: string;
  /** The PriorityClass of warmers; empty for none. */
  priorityClassName: string;
};

/** Of a Job's spec as IPS made it, to tell on a 409 whether the Job of that name is ours. */
export const SPEC_HASH_ANNOTATION = 'ips/spec-hash';

export const WARM_CONTAINER = 'warm';

export const WARMER_REQUESTS: Record<string, string> = { cpu: '10m', memory: '16Mi' };

/** A Job that outlives its planner ends by itself, this long after IPS would have ended it. */
const BACKSTOP_SECONDS = 120;

/** One name for one piece of work: two replicas that both act make the same Job. */
export function jobName(taskUid: string, round: number, batch: number, attempt: number): string {
  return `ips-${sha256(`${taskUid}/${round}/${batch}/${attempt}`).slice(0, 20)}`;
}

/** The Indexed Job that brings a batch's images to its nodes; index i runs on `batch.nodes[i]`, see pinning.ts. */
export function warmerJob(
  task: PrewarmTask,
  batch: OpenBatch,
  options: WarmerOptions,
): KubernetesObject & { spec: object } {
  const labels = { [WARMER_LABEL]: 'true', [TASK_LABEL]: task.metadata.name ?? '' };
  const spec = {
    completionMode: 'Indexed',
    completions: batch.nodes.length,
    parallelism: batch.nodes.length,
    backoffLimitPerIndex: 0,
    activeDeadlineSeconds: (task.spec.timeoutSeconds ?? DEFAULTS.timeoutSeconds) + BACKSTOP_SECONDS,
    ttlSecondsAfterFinished: 3600,
    template: {
      metadata: { labels, annotations: podAnnotations(batch) },
      spec: podSpec(task, batch, options),
    },
  };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: batch.jobName,
      namespace: task.metadata.namespace ?? '',
      labels,
      annotations: { [SPEC_HASH_ANNOTATION]: sha256(stableJson(spec)) },
      ownerReferences: [
        {
          apiVersion: TASK_API_VERSION,
          kind: 'PrewarmTask',
          name: task.metadata.name ?? '',
          uid: task.metadata.uid ?? '',
          controller: true,
        },
      ],
    },
    spec,
  };
}

function podAnnotations(batch: OpenBatch): Record<string, string> {
  return {
    [NODES_ANNOTATION]: batch.nodes.join(','),
    'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true',
    'sidecar.istio.io/inject': 'false',
    'linkerd.io/inject': 'disabled',
  };
}

function podSpec(task: PrewarmTask, batch: OpenBatch, options: WarmerOptions): object {
  const images = batch.images.flatMap((index) => task.spec.images[index] ?? []);
  const { imagePullSecrets, serviceAccountName, runtimeClassName, nodeRequirements } = task.spec;
  return {
    restartPolicy: 'Never',
    // There is no such scheduler: a warmer that was not pinned at admission must not land just anywhere.
    schedulerName: 'ips-pins-warmers',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 0,
    dnsPolicy: 'Default',
    ...(options.priorityClassName ? { priorityClassName: options.priorityClassName } : {}),
    ...(imagePullSecrets?.length ? { imagePullSecrets: imagePullSecrets.map((name) => ({ name })) } : {}),
    ...(serviceAccountName ? { serviceAccountName } : {}),
    ...(runtimeClassName ? { runtimeClassName } : {}),
    // The workload's own: they decide its nodes, and a warmer goes to these and no others.
    ...(nodeRequirements?.tolerations?.length ? { tolerations: nodeRequirements.tolerations } : {}),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65_535,
      runAsGroup: 65_535,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumes: images.map(imageVolume),
    containers: [
      {
        name: WARM_CONTAINER,
        image: options.workerImage,
        imagePullPolicy: 'IfNotPresent',
        args: ['-v'],
        resources: {
          requests: WARMER_REQUESTS,
          limits: { cpu: '100m', memory: '64Mi' },
        },
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
        volumeMounts: images.map((_, index) => ({
          name: `image-${index}`,
          mountPath: `/images/${index}`,
          readOnly: true,
        })),
      },
    ],
  };
}

function imageVolume(image: TaskImage, index: number): object {
  return { name: `image-${index}`, image: { reference: image.image, pullPolicy: image.pullPolicy } };
}
