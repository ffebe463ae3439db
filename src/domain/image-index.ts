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
  let changes = 0;

  function add(canonical: string, name: string): void {
    const nodes = listing.get(canonical);
    if (nodes) nodes.add(name);
    else listing.set(canonical, new Set([name]));
  }

  function remove(canonical: string, name: string): void {
    const nodes = listing.get(canonical);
    nodes?.delete(name);
    if (nodes?.size === 0) listing.delete(canonical);
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
    replace(before, after) {
      changes += 1;
      const name = (after ?? before)?.metadata.name ?? '';
      if (before) known.delete(before);
      if (after) {
        known.add(after);
        freeBytes(after); // remembered: a plan must not add up thousands of lists at once
      }
      const [had, has] = [imagesOn(before), imagesOn(after)];
      for (const canonical of without(has, had)) add(canonical, name);
      for (const canonical of without(had, has)) remove(canonical, name);
    },
  };
}

function imagesOn(node: KubernetesNode | undefined): ReadonlyMap<string, number> {
  return node ? indexOfNode(node).sizes : NONE;
}

function without(images: ReadonlyMap<string, number>, others: ReadonlyMap<string, number>): string[] {
  return [...images.keys()].filter((canonical) => !others.has(canonical));
}
