import type { Presence } from './image-presence.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { nodeKey, packNodes, unpackNodes } from './node-set.ts';
import type { PrewarmTaskSpec, TaskImage, WarmedRecord } from './prewarm-task.ts';
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

type Entry = { images: Set<number>; since: string };

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
  const proves = ({ pullPolicy }: TaskImage) => pullPolicy !== 'Always' && !spec.imagePullSecrets?.length;
  const entries = new Map<string, Entry>();
  const lost = new Set<string>();
  const note = (key: string, images: number[], since: string): void => {
    const entry = entries.get(key) ?? { images: new Set(), since };
    for (const image of images) entry.images.add(image);
    if (since > entry.since) entry.since = since;
    entries.set(key, entry);
  };
  for (const record of records)
    for (const key of unpackNodes(record.nodes)) note(key, record.images, record.since);

  const forget = (entry: Entry, node: KubernetesNode, image: number): void => {
    entry.images.delete(image);
    if (entry.images.size === 0) entries.delete(nodeKey(node));
  };

  const has = (node: KubernetesNode, image: number): boolean => {
    const wanted = spec.images[image];
    if (!wanted) return false;
    const entry = entries.size > 0 ? entries.get(nodeKey(node)) : undefined;
    if (!entry?.images.has(image)) return proves(wanted) && presence(node, wanted.image) === 'present';
    const seen = presence(node, wanted.image);
    if (seen === 'present' ? !proves(wanted) : !isOutOfDate(entry, seen, node)) return true;
    forget(entry, node, image);
    if (seen === 'absent') lost.add(`${nodeKey(node)} ${image}`);
    return seen === 'present';
  };

  return {
    has,
    held(nodes) {
      const proving = spec.images.filter(proves).map(({ image }) => image);
      const counts = listed(nodes, proving);
      if (entries.size === 0) return counts;
      return nodes.map((node, index) => {
        if (!entries.has(nodeKey(node))) return counts[index] ?? 0;
        return spec.images.filter((_, image) => has(node, image)).length;
      });
    },
    lost: (node, image) => lost.size > 0 && lost.has(`${nodeKey(node)} ${image}`),
    add: note,
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

/** Nodes with the same images share a record, dated by the latest: later only means that an absence is believed later. */
function pack(entries: [string, Entry][]): WarmedRecord[] {
  const groups = new Map<string, { images: number[]; since: string; nodes: string[] }>();
  for (const [key, { images, since }] of entries) {
    const list = [...images].sort((a, b) => a - b);
    const group = groups.get(list.join()) ?? { images: list, since, nodes: [] };
    group.nodes.push(key);
    if (since > group.since) group.since = since;
    groups.set(list.join(), group);
  }
  return [...groups.values()].map(({ images, since, nodes }) => ({ images, since, nodes: packNodes(nodes) }));
}
