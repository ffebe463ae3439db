import type { Presence } from './image-presence.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { nodeKey, packNodes, unpackNodes } from './node-set.ts';
import type { PrewarmTaskSpec, WarmedRecord } from './prewarm-task.ts';
import type { PresenceOf } from './task-progress.ts';

/** Which images are on which nodes, from the nodes' status and from the task's own record where that proves nothing. */
export type WarmNodes = {
  /** Whether the node has the image; what its status meanwhile proves, either way, leaves the record. */
  has(node: KubernetesNode, image: number): boolean;
  /** How many of the images each of these nodes has. */
  held(nodes: KubernetesNode[]): number[];
  /** Whether a batch brought it, and the node's status has told since that it is not there. */
  lost(node: KubernetesNode, image: number): boolean;
  /** Notes that a batch brought these images to the node of this key. */
  add(key: string, images: number[], since: string): void;
  /** What to keep in the task's status: of these nodes, where they are given. */
  records(known?: ReadonlySet<string>): WarmedRecord[];
};

/**
 * A node's list of images is up to 40 s old: the kubelet refreshes it every 30 s and reports it every 10 s
 * (image_gc_manager.go, nodeStatusUpdateFrequency). Before this much has passed, an absence proves nothing.
 */
const LIST_AGE_MS = 90_000;

/** Images by index, in order. Never changed: the nodes of a record, which may be thousands, share theirs. */
type Entry = { images: readonly number[]; since: string };

/** How many of the images each of these nodes lists. */
export type ListedOn = (nodes: KubernetesNode[], images: string[]) => number[];

/** @param listed the same as by the presence, where an index knows it faster of many nodes */
export function warmNodes(
  spec: PrewarmTaskSpec,
  records: WarmedRecord[],
  presence: PresenceOf,
  listed: ListedOn = listedBy(presence),
): WarmNodes {
  // With Always the tag may have moved; with secrets the kubelet asks again who may use it (from 1.35).
  const secrets = (spec.imagePullSecrets ?? []).length > 0;
  const proving = spec.images.map(({ pullPolicy }) => pullPolicy !== 'Always' && !secrets);
  const entries = new Map<string, Entry>();
  const lost = new Set<string>();
  /** Of one node, whoever asks does so for every image. */
  let [lately, found]: [node?: KubernetesNode, entry?: Entry] = [];

  const entryOf = (node: KubernetesNode): Entry | undefined => {
    if (entries.size === 0) return undefined;
    if (lately !== node) [lately, found] = [node, entries.get(nodeKey(node))];
    return found;
  };

  const note = (key: string, added: Entry): void => {
    const known = entries.get(key);
    entries.set(key, known ? both(known, added) : added);
    lately = undefined;
  };
  for (const { images, since, nodes } of records) {
    const entry = { images: inOrder(images), since };
    for (const key of unpackNodes(nodes)) note(key, entry);
  }

  const forget = (key: string, { images, since }: Entry, image: number): void => {
    const left = images.filter((each) => each !== image);
    if (left.length > 0) entries.set(key, { images: left, since });
    else entries.delete(key);
    lately = undefined;
  };

  const has = (node: KubernetesNode, image: number): boolean => {
    const wanted = spec.images[image];
    if (!wanted) return false;
    const entry = entryOf(node);
    if (!entry?.images.includes(image)) return !!proving[image] && presence(node, wanted.image) === 'present';
    const seen = presence(node, wanted.image);
    if (seen === 'present' ? !proving[image] : !isOutOfDate(entry, seen, node)) return true;
    forget(nodeKey(node), entry, image);
    if (seen === 'absent') lost.add(`${nodeKey(node)} ${image}`);
    return seen === 'present';
  };

  return {
    has,
    held(nodes) {
      const provable = spec.images.filter((_, image) => proving[image]).map(({ image }) => image);
      const counts = listed(nodes, provable);
      if (entries.size === 0) return counts;
      return nodes.map((node, index) => {
        if (!entryOf(node)) return counts[index] ?? 0;
        let count = 0;
        for (let image = 0; image < proving.length; image += 1) if (has(node, image)) count += 1;
        return count;
      });
    },
    lost: (node, image) => lost.size > 0 && lost.has(`${nodeKey(node)} ${image}`),
    add: (key, images, since) => note(key, { images: inOrder(images), since }),
    records: (known) => pack([...entries].filter(([key]) => !known || known.has(key))),
  };
}

function listedBy(presence: PresenceOf): ListedOn {
  return (nodes, images) =>
    nodes.map((node) => images.filter((image) => presence(node, image) === 'present').length);
}

function isOutOfDate({ since }: Entry, seen: Presence, node: KubernetesNode): boolean {
  return seen === 'absent' && heartbeatMs(node) > Date.parse(since) + LIST_AGE_MS;
}

function heartbeatMs(node: KubernetesNode): number {
  const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
  return Date.parse(ready?.lastHeartbeatTime ?? '') || 0;
}

function both(one: Entry, other: Entry): Entry {
  const { since } = one.since < other.since ? other : one;
  return { images: inOrder([...one.images, ...other.images]), since };
}

function inOrder(images: readonly number[]): number[] {
  return [...new Set(images)].sort((a, b) => a - b);
}

/** Nodes with the same images share a record, dated by the latest: later only means that an absence is believed later. */
function pack(entries: [string, Entry][]): WarmedRecord[] {
  const sharing = new Map<Entry, string[]>();
  for (const [key, entry] of entries) {
    const keys = sharing.get(entry);
    if (keys) keys.push(key);
    else sharing.set(entry, [key]);
  }
  const groups = new Map<string, Entry & { keys: string[][] }>();
  for (const [{ images, since }, keys] of sharing) {
    const group = groups.get(images.join());
    if (!group) groups.set(images.join(), { images, since, keys: [keys] });
    else {
      group.keys.push(keys);
      if (since > group.since) group.since = since;
    }
  }
  return [...groups.values()].map(({ images, since, keys }) => ({
    ...{ images: [...images], since },
    nodes: packNodes(keys.flat()),
  }));
}
