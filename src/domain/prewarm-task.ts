import type { RetryStrategy } from './annotations.ts';
import type { KubernetesObject } from './kubernetes.ts';
import type { NodePreferences } from './node-choice.ts';
import type { NodeRequirements } from './node-matching.ts';
import type { PullStrategy } from './node-strategy.ts';

/** The custom resource `PrewarmTask`: images to bring to nodes, and how far that is. deploy/base/crd.yaml is its schema. */

export const TASK_API_VERSION = 'ips.dev/v1alpha1';

export type TaskImage = { image: string; pullPolicy: 'IfNotPresent' | 'Always' };

export type PrewarmTaskSpec = {
  /** Two tasks with the same fingerprint are the same task; see fingerprint.ts. */
  fingerprint?: string;
  images: TaskImage[];
  imagePullSecrets?: string[];
  serviceAccountName?: string;
  runtimeClassName?: string;
  nodeRequirements?: NodeRequirements;
  /** A number of nodes, or a percentage such as `25%`. */
  maxNodes?: string;
  /** Which nodes come first under that limit. */
  nodePreferences?: NodePreferences;
  /** 1 (last) to 10 (first). */
  priority?: number;
  /** The most nodes that pull at the same time. Where it is set, so many do from the first batch on. */
  concurrentPulls?: number;
  retry?: { limit?: number; strategy?: RetryStrategy; delaySeconds?: number };
  /** Of one batch. */
  timeoutSeconds?: number;
  /** For tasks without an owner: removed this long after they finished. */
  ttlSecondsAfterFinished?: number;
  notifiers?: string[];
  cancelled?: boolean;
};

export type TaskPhase = 'Pending' | 'Warming' | 'Warm' | 'PartiallyFailed' | 'Failed' | 'Cancelled';

/** A Job that was planned: written here before it is made, so that a restart finds it. */
export type OpenBatch = {
  jobName: string;
  round: number;
  batch: number;
  attempt: number;
  /** How its warmers pull; image volumes where it is not set, as in batches of an older release. */
  strategy?: PullStrategy;
  /** In the order of completion indexes. */
  nodes: string[];
  /** Which nodes are meant, in the same order, see node-set.ts: one made anew under an old name is another. */
  keys: string;
  /** Indexes into `spec.images`. */
  images: number[];
  startedAt: string;
};

export type NodeFailure = { node: string; image: string; reason: string; message: string; time: string };

/** An image that no node can pull, seen on so many `nodes`: it is left out until `retryAt`. */
export type FailedImage = { image: string; reason: string; message: string; nodes: number };

/** What was warmed, where a node's status cannot prove it (yet). `nodes` is packed, see node-set.ts. */
export type WarmedRecord = { images: number[]; since: string; nodes: string };

/** Back-pressure that a batch of `width` nodes met, see pull-width.ts. */
export type Pressure = { width: number; reason: string; time: string; pauseSeconds?: number };

/**
 * Nodes whose kubelet removed these images, so many times. They are left alone until `retryAt`; or have them back, and
 * are watched until `forgetAt`. `nodes` is packed.
 */
export type CollectedRecord = {
  images: number[];
  times: number;
  retryAt?: string;
  forgetAt?: string;
  nodes: string;
};

export type PrewarmTaskStatus = {
  observedGeneration?: number;
  phase?: TaskPhase;
  message?: string;
  /** `12/50`, for the printer column. */
  progress?: string;
  nodes?: { eligible: number; warm: number; warming: number; failed: number };
  round?: number;
  /** The last batch number given out in this round. */
  batch?: number;
  /** How many nodes may pull at the same time now: it grows as pulls succeed, see pull-width.ts. */
  width?: number;
  /** `narrowed from 10 to 4: rate limited on 6 of 10 nodes`: the last change. */
  widthReason?: string;
  /** The last that narrowed it. */
  pressure?: Pressure;
  /** When the next batch may begin, where a registry with a limit takes one node now and then only. */
  pauseUntil?: string;
  /** Failed tries in a row, and when the next one may start. */
  attempt?: number;
  retryAt?: string;
  /** Long waits in a row for an image that no node can pull. */
  waits?: number;
  batches?: OpenBatch[];
  failedImages?: FailedImage[];
  /** At most MAX_FAILURES; `failureCount` counts all. */
  failures?: NodeFailure[];
  failureCount?: number;
  /** Every node that failed in this try, packed. */
  failedNodes?: string;
  /** Those of them that used up their tries and wait for the long one, packed. */
  spentNodes?: string;
  warmed?: WarmedRecord[];
  collected?: CollectedRecord[];
  /** Since when it has had work to do without a break: its age among those that wait, see rank.ts. */
  wantsSince?: string;
  /** Since when not every eligible node has every image. */
  coldSince?: string;
  startedAt?: string;
  finishedAt?: string;
  lastWarmedAt?: string;
};

export type PrewarmTask = KubernetesObject & { spec: PrewarmTaskSpec; status?: PrewarmTaskStatus };

/** Those of the schema in deploy/base/crd.yaml. */
export const DEFAULTS = {
  priority: 5,
  retryLimit: 3,
  retryStrategy: 'exponential',
  retryDelaySeconds: 10,
  timeoutSeconds: 1800,
  ttlSecondsAfterFinished: 3600,
} as const;

/** How many failures a status lists; it counts them all. */
export const MAX_FAILURES = 50;

/** Batches hold at most this many nodes: measured as fast as all at once, and kinder to the Job controller. */
export const MAX_BATCH = 50;
