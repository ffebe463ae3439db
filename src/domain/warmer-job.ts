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
  /** Copies itself to where its argument says, and does nothing without one; see worker/. */
  workerImageLegacy: string;
  /** The PriorityClass of warmers; empty for none. */
  priorityClassName: string;
};

/** Of a Job's spec as IPS made it, to tell on a 409 whether the Job of that name is ours. */
export const SPEC_HASH_ANNOTATION = 'ips/spec-hash';

/** The only container where images are volumes. */
export const WARM_CONTAINER = 'warm';
/** The init container that puts the no-op where each image's container finds it. */
export const NOOP_CONTAINER = 'noop';
const NOOP_FOLDER = '/ips';

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
    ...(batch.strategy === 'injected-noop' ? injectedNoop(images, options) : imageVolumes(images, options)),
  };
}

/** Each image is a volume; the only container starts once all of them are there, and ends. */
function imageVolumes(images: TaskImage[], { workerImage }: WarmerOptions): object {
  return {
    volumes: images.map(({ image, pullPolicy }, index) => ({
      name: imageName(index),
      image: { reference: image, pullPolicy },
    })),
    containers: [
      {
        name: WARM_CONTAINER,
        image: workerImage,
        imagePullPolicy: 'IfNotPresent',
        args: ['-v'],
        ...confined(WARMER_REQUESTS),
        volumeMounts: images.map((_, index) => ({
          name: imageName(index),
          mountPath: `/images/${index}`,
          readOnly: true,
        })),
      },
    ],
  };
}

/** Each image is a container in which a copy of our no-op is started, and nothing of the image. */
function injectedNoop(images: TaskImage[], { workerImageLegacy }: WarmerOptions): object {
  return {
    volumes: [{ name: 'noop', emptyDir: { sizeLimit: '1Mi' } }],
    initContainers: [
      {
        name: NOOP_CONTAINER,
        image: workerImageLegacy,
        imagePullPolicy: 'IfNotPresent',
        args: [`${NOOP_FOLDER}/noop`],
        terminationMessagePolicy: 'FallbackToLogsOnError',
        ...confined(WARMER_REQUESTS),
        volumeMounts: [{ name: 'noop', mountPath: NOOP_FOLDER }],
      },
    ],
    // The first is there to end: a kubelet that could pull no image looks at the pod again, and tells of it, only 10 to
    // 15 s later, and then pulls once more, unless something happens in the pod.
    containers: [
      noopIn('wake', { image: workerImageLegacy, pullPolicy: 'IfNotPresent' }),
      ...images.map((image, index) => noopIn(imageName(index), image)),
    ],
  };
}

function noopIn(name: string, { image, pullPolicy }: TaskImage): object {
  return {
    name,
    image,
    imagePullPolicy: pullPolicy,
    command: [`${NOOP_FOLDER}/noop`],
    // The image's own may be closed to the warmer's user.
    workingDir: '/',
    ...confined(IMAGE_REQUESTS),
    volumeMounts: [{ name: 'noop', mountPath: NOOP_FOLDER, readOnly: true }],
  };
}

/** Others may have put containers of their own beside a warmer's. */
export function isWarmerContainer(name: string): boolean {
  return name === WARM_CONTAINER || /^image-\d+$/.test(name);
}

/** The volume or the container of the n-th image of a batch. */
export function imageName(position: number): string {
  return `image-${position}`;
}

/** Containers run side by side as far as the scheduler's sums go: a hundred of them must not need a whole processor. */
const IMAGE_REQUESTS = { cpu: '2m', memory: '4Mi' };

function confined(requests: object): object {
  return {
    // Not less: what starts a container has to live in them as well.
    resources: { requests, limits: { cpu: '100m', memory: '64Mi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
  };
}
