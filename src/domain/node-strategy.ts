/**
 * How a node can be made to pull an image without running anything of it, read from what its kubelet reports
 * about itself in `status.nodeInfo`.
 */

import type { KubernetesNode } from './kubernetes.ts';

/** image-volume: each image is a volume of the warmer. injected-noop: each is a container that runs a copy of our no-op. */
export type PullStrategy = 'image-volume' | 'injected-noop';

export type NodeStrategy = { strategy: PullStrategy } | { strategy: undefined; reason: string };

export type StrategyOptions = {
  /** `auto`: image volumes where a node can, the no-op elsewhere. */
  strategy: 'auto' | PullStrategy;
  /** Holds the no-op; empty where there is none. */
  workerImageLegacy: string;
};

type Version = { major: number; minor: number };
type Runtime = { label: string; oldest: Version };

/** Feature gate ImageVolume: on by default from this version, general from 1.36 (pkg/features/kube_features.go). */
const OLDEST_KUBELET: Version = { major: 1, minor: 35 };

/** The first releases that mount image volumes, by the name that the runtime gives itself over CRI. */
const RUNTIMES = new Map<string, Runtime>([
  ['containerd', { label: 'containerd', oldest: { major: 2, minor: 1 } }],
  ['cri-o', { label: 'CRI-O', oldest: { major: 1, minor: 31 } }],
]);
const NEEDED_RUNTIME = [...RUNTIMES.values()]
  .map(({ label, oldest }) => `${label} ${text(oldest)}`)
  .join(' or ');

/**
 * The strategy for a node, or why it has none. The reason is a sentence for a user. Pre-releases and vendors'
 * suffixes (`v1.35.2-gke.100`, `v1.36.0+k3s1`) count as the version that they are made from.
 */
export function pullStrategy(node: KubernetesNode, options: StrategyOptions): NodeStrategy {
  const nodeInfo = node.status?.nodeInfo;
  if (!nodeInfo)
    return none('node does not report its kubelet and container runtime (status.nodeInfo is missing)');
  if (nodeInfo.operatingSystem === 'windows')
    return none('Windows nodes can neither mount image volumes nor run the no-op');
  if (options.strategy === 'injected-noop') return { strategy: 'injected-noop' };
  const reason =
    rejectKubelet(nodeInfo.kubeletVersion ?? '') ?? rejectRuntime(nodeInfo.containerRuntimeVersion ?? '');
  if (!reason) return { strategy: 'image-volume' };
  if (options.strategy === 'image-volume') return none(reason);
  return options.workerImageLegacy
    ? { strategy: 'injected-noop' }
    : none(`${reason}, and WORKER_IMAGE_LEGACY is not set`);
}

/** The strategy of an eligible node, so that it has one. */
export function strategyOf(node: KubernetesNode, options: StrategyOptions): PullStrategy {
  return pullStrategy(node, options).strategy ?? 'image-volume';
}

function none(reason: string): NodeStrategy {
  return { strategy: undefined, reason };
}

const rejectKubelet = remembering((reported) => {
  const version = parseVersion(reported);
  if (version === undefined) {
    return `kubelet version "${reported}" is not one that can be read (${text(OLDEST_KUBELET)} or newer needed)`;
  }
  return isOlder(version, OLDEST_KUBELET)
    ? `kubelet ${reported} cannot mount image volumes (${text(OLDEST_KUBELET)} or newer needed)`
    : undefined;
});

/** @param reported such as `containerd://2.4.2`: name and version as the runtime tells them over CRI */
const rejectRuntime = remembering((reported) => {
  const [name = '', release = ''] = reported.split('://', 2);
  const runtime = RUNTIMES.get(name);
  if (runtime === undefined) {
    return `container runtime "${reported}" cannot mount image volumes (${NEEDED_RUNTIME} or newer needed)`;
  }
  const version = parseVersion(release);
  if (version === undefined) {
    return `container runtime version "${reported}" is not one that can be read (${text(runtime.oldest)} or newer needed)`;
  }
  return isOlder(version, runtime.oldest)
    ? `${runtime.label} ${release} cannot mount image volumes (${text(runtime.oldest)} or newer needed)`
    : undefined;
});

const MAX_REMEMBERED = 1_000;

/** The same few versions come again from every node. */
function remembering(reject: (reported: string) => string | undefined): typeof reject {
  const answers = new Map<string, string | undefined>();
  return (reported) => {
    if (!answers.has(reported)) {
      if (answers.size >= MAX_REMEMBERED) answers.clear();
      answers.set(reported, reject(reported));
    }
    return answers.get(reported);
  };
}

function parseVersion(reported: string): Version | undefined {
  const match = /^v?(\d+)\.(\d+)/.exec(reported);
  return match === null ? undefined : { major: Number(match[1]), minor: Number(match[2]) };
}

function isOlder(version: Version, oldest: Version): boolean {
  return version.major === oldest.major ? version.minor < oldest.minor : version.major < oldest.major;
}

function text({ major, minor }: Version): string {
  return `${major}.${minor}`;
}
