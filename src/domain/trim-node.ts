import type { ContainerImage, KubernetesNode, KubernetesObject } from './kubernetes.ts';
import { share, sharedCopy } from './shared-copy.ts';

const CONDITIONS = ['Ready', 'DiskPressure'];
const DISK = ['ephemeral-storage'];

/**
 * Thousands of nodes tell the same images, labels and versions: kept once for all of them, an image is a pointer instead
 * of 200 bytes, and 5,000 nodes take 20 MB instead of 200.
 */
const specs = new Map<string, object>();
const images = new Map<string, ContainerImage>();

/** Keeps of a node what IPS uses. */
export function trimNode(object: KubernetesObject): KubernetesNode {
  const { metadata, spec, status } = object as KubernetesNode;
  const { name, uid, resourceVersion, deletionTimestamp, labels } = metadata;
  const { kubeletVersion, containerRuntimeVersion, operatingSystem, architecture } = status?.nodeInfo ?? {};
  const { allocatable, capacity } = status ?? {};
  const kept = {
    metadata: { name, uid, resourceVersion, deletionTimestamp, labels },
    status: {
      // In one order, whatever theirs is: in another one they tell the same.
      conditions: status?.conditions
        ?.filter((condition) => CONDITIONS.includes(condition.type))
        .map(({ type, status: value, lastHeartbeatTime }) => ({ type, status: value, lastHeartbeatTime }))
        .sort((one, other) => (one.type < other.type ? -1 : 1)),
      capacity: resources(capacity, DISK),
      allocatable: resources(allocatable, ['cpu', 'memory', ...DISK]),
      runtimeHandlers: status?.runtimeHandlers?.map(({ name: handler }) => ({ name: handler })),
      nodeInfo: { kubeletVersion, containerRuntimeVersion, operatingSystem, architecture },
    },
  };
  const node = sharedCopy(kept, OWN) as KubernetesNode & { status: object };
  const taints = spec?.taints?.map(({ key, value, effect }) => ({ key, value, effect }));
  node.spec = sharedSpec({ unschedulable: spec?.unschedulable, taints });
  if (status?.images) node.status.images = status.images.map(sharedImage);
  return node;
}

function resources(of: Record<string, string> | undefined, names: string[]): object | undefined {
  const told = names.filter((name) => of?.[name] !== undefined);
  return told.length > 0 ? Object.fromEntries(told.map((name) => [name, of?.[name]])) : undefined;
}

/** What no two nodes have in common. */
const OWN = ['name', 'uid', 'resourceVersion', 'deletionTimestamp', 'lastHeartbeatTime'];

/** Nodes have no taint, or the same few: thousands are asked about them, and what is kept once is soon at hand. */
function sharedSpec(spec: object): object {
  const key = JSON.stringify(spec);
  return specs.get(key) ?? share(specs, key, sharedCopy(spec, OWN) as object);
}

function sharedImage(image: ContainerImage): ContainerImage {
  const { names, sizeBytes } = image;
  const key = JSON.stringify([sizeBytes, names]);
  return images.get(key) ?? share(images, key, sharedCopy({ names, sizeBytes }, OWN) as ContainerImage);
}

/** In what two states of a node differ, the time of the heartbeat and the resource version aside. */
export type NodeChange = { images: boolean; other: boolean };

export function nodeChange(before: KubernetesNode, after: KubernetesNode): NodeChange {
  return {
    images: !sameImages(before.status?.images, after.status?.images),
    other: withoutHeartbeat(before) !== withoutHeartbeat(after),
  };
}

/** Two lists of the same images in the same order, as far as one look tells: they are shared. */
export function sameImages(
  before: readonly ContainerImage[] | undefined,
  after: readonly ContainerImage[] | undefined,
): boolean {
  if (before === undefined || after === undefined) return before === after;
  return before.length === after.length && before.every((image, index) => image === after[index]);
}

const VOLATILE = ['resourceVersion', 'lastHeartbeatTime', 'images'];

function withoutHeartbeat(node: KubernetesNode): string {
  return JSON.stringify(node, (key, value: unknown) => (VOLATILE.includes(key) ? undefined : value));
}
