import { canonicalName, indexOfNode, notListed } from './image-presence.ts';
import type { ImageSizes } from './image-sizes.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { freeBytes } from './node-room.ts';
import { presenceBy } from './node-view.ts';
import type { PresenceOf } from './task-progress.ts';

/**
 * Which nodes have an image, for all nodes at once: to look it up in the list of each of 5,000, all over the memory,
 * takes longer than all else that a plan does. Answers as `presenceBy`.
 */
export type ImageIndex = {
  presence: PresenceOf;
  /** Whether the node listed the image and, as long as it is looked at here, does so no more: the kubelet removed it. */
  lost(node: KubernetesNode, image: string): boolean;
  /** A node came, changed or went; the sizes have been told already. */
  replace(before: KubernetesNode | undefined, after: KubernetesNode | undefined): void;
};

type Asked = {
  canonical: string;
  nodes: Set<string> | undefined;
  smallest: number | undefined;
  asOf: number;
};

const MAX_REMEMBERED = 10_000;
const NONE: ReadonlyMap<string, number> = new Map();

export function createImageIndex(sizes: ImageSizes): ImageIndex {
  const plain = presenceBy(sizes);
  const known = new WeakSet<KubernetesNode>();
  /** The names of the nodes that list an image. */
  const listing = new Map<string, Set<string>>();
  /** By the image as it is asked for, so that it need not be normalised again. */
  const remembered = new Map<string, Asked>();
  /** The names of the nodes that listed an image before. */
  const lost = new Map<string, Set<string>>();
  let changes = 0;

  function noteLosses(before: KubernetesNode | undefined, after: KubernetesNode | undefined, went: string[]) {
    const { name = '', uid } = before?.metadata ?? {};
    // One made anew under a name has lost nothing.
    if (uid !== after?.metadata.uid) for (const canonical of lost.keys()) remove(lost, canonical, name);
    else for (const canonical of went) add(lost, canonical, name);
    // What is forgotten is a first removal too few: a node is warmed again at once, once more.
    if (lost.size > MAX_REMEMBERED) lost.clear();
  }

  function about(image: string): Asked {
    const asked = remembered.get(image) ?? newlyAsked(image);
    if (asked.asOf === changes) return asked;
    asked.nodes = listing.get(asked.canonical);
    asked.smallest = sizes.rangeOf(asked.canonical)?.smallest;
    asked.asOf = changes;
    return asked;
  }

  function newlyAsked(image: string): Asked {
    const canonical = canonicalName(image) ?? image;
    const asked = { canonical, nodes: undefined, smallest: undefined, asOf: -1 };
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(image, asked);
    return asked;
  }

  return {
    presence(node, image) {
      if (!known.has(node)) return plain(node, image);
      const { nodes, smallest } = about(image);
      if (nodes?.has(node.metadata.name ?? '')) return 'present';
      return notListed(indexOfNode(node).absenceProvenAboveBytes, smallest);
    },
    lost: (node, image) =>
      lost.size > 0 && (lost.get(about(image).canonical)?.has(node.metadata.name ?? '') ?? false),
    replace(before, after) {
      changes += 1;
      const name = (after ?? before)?.metadata.name ?? '';
      if (before) known.delete(before);
      if (after) {
        known.add(after);
        freeBytes(after); // remembered: a plan must not add up thousands of lists at once
      }
      const [had, has] = [imagesOn(before), imagesOn(after)];
      const went = without(had, has);
      for (const canonical of without(has, had)) {
        add(listing, canonical, name);
        remove(lost, canonical, name);
      }
      for (const canonical of went) remove(listing, canonical, name);
      noteLosses(before, after, went);
    },
  };
}

function add(index: Map<string, Set<string>>, canonical: string, name: string): void {
  const nodes = index.get(canonical);
  if (nodes) nodes.add(name);
  else index.set(canonical, new Set([name]));
}

function remove(index: Map<string, Set<string>>, canonical: string, name: string): void {
  const nodes = index.get(canonical);
  nodes?.delete(name);
  if (nodes?.size === 0) index.delete(canonical);
}

function imagesOn(node: KubernetesNode | undefined): ReadonlyMap<string, number> {
  return node ? indexOfNode(node).sizes : NONE;
}

function without(images: ReadonlyMap<string, number>, others: ReadonlyMap<string, number>): string[] {
  return [...images.keys()].filter((canonical) => !others.has(canonical));
}
