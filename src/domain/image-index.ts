import { absenceProvenAboveBytes, canonicalName, indexNodeImages, notListed } from './image-presence.ts';
import type { ImageSizes } from './image-sizes.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { addGrowing, has, type NodeBits, noNodes, remove } from './node-bits.ts';
import { factsOf } from './node-facts.ts';
import { presenceBy } from './node-view.ts';
import type { PresenceOf } from './task-progress.ts';
import { sameImages } from './trim-node.ts';
import type { ListedOn } from './warm-nodes.ts';

/**
 * Which nodes have an image, for all nodes at once: to look it up in the list of each of 5,000, all over the memory,
 * takes longer than all else that a plan does. Answers as `presenceBy`.
 */
export type ImageIndex = {
  presence: PresenceOf;
  listed: ListedOn;
  /** Whether the node listed the image and, as long as it is looked at here, does so no more: the kubelet removed it. */
  lost(node: KubernetesNode, image: string): boolean;
  /** A node came, changed or went; the sizes have been told already. */
  replace(before: KubernetesNode | undefined, after: KubernetesNode | undefined): void;
};

type Asked = {
  canonical: string;
  nodes: NodeBits | undefined;
  smallest: number | undefined;
  asOf: number;
};

/** `place`: the bit that stands for the node. */
type Known = { place: number; absenceProvenAboveBytes: number };

const MAX_REMEMBERED = 10_000;
const NO_NODES = noNodes(0);

export function createImageIndex(sizes: ImageSizes): ImageIndex {
  const plain = presenceBy(sizes);
  const known = new WeakMap<KubernetesNode, Known>();
  const places = new Map<string, number>();
  const freePlaces: number[] = [];
  /** The nodes that list an image, a bit each: names would take 10 MB for 5,000 nodes of 50 images. */
  const listing = new Map<string, NodeBits>();
  /** By the image as it is asked for, so that it need not be normalised again. */
  const remembered = new Map<string, Asked>();
  /** The names of the nodes that listed an image before. */
  const lost = new Map<string, Set<string>>();
  let changes = 0;

  function noteLosses(before: KubernetesNode | undefined, after: KubernetesNode | undefined, went: string[]) {
    const { name = '', uid } = before?.metadata ?? {};
    // One made anew under a name has lost nothing.
    if (uid !== after?.metadata.uid) for (const canonical of lost.keys()) unnote(canonical, name);
    else for (const canonical of went) note(canonical, name);
    // What is forgotten is a first removal too few: a node is warmed again at once, once more.
    if (lost.size > MAX_REMEMBERED) lost.clear();
  }

  function note(canonical: string, name: string): void {
    const nodes = lost.get(canonical);
    if (nodes) nodes.add(name);
    else lost.set(canonical, new Set([name]));
  }

  function unnote(canonical: string, name: string): void {
    const nodes = lost.get(canonical);
    nodes?.delete(name);
    if (nodes?.size === 0) lost.delete(canonical);
  }

  function placeOf(name: string): number {
    const place = places.get(name) ?? freePlaces.pop() ?? places.size;
    places.set(name, place);
    return place;
  }

  function leave(name: string): void {
    const place = places.get(name);
    if (place === undefined) return;
    places.delete(name);
    freePlaces.push(place);
  }

  function unlist(canonical: string, place: number): void {
    const nodes = listing.get(canonical);
    if (!nodes) return;
    remove(nodes, place);
    if (nodes.every((word) => word === 0)) listing.delete(canonical);
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

  function relist(
    place: number,
    before: KubernetesNode | undefined,
    after: KubernetesNode | undefined,
  ): void {
    const same = before?.metadata.uid === after?.metadata.uid;
    if (same && before && after && sameImages(before.status?.images, after.status?.images)) return;
    const [had, is] = [imagesOn(before), imagesOn(after)];
    const name = (after ?? before)?.metadata.name ?? '';
    for (const canonical of without(is, had)) {
      listing.set(canonical, addGrowing(listing.get(canonical), place));
      unnote(canonical, name);
    }
    const went = without(had, is);
    for (const canonical of went) unlist(canonical, place);
    noteLosses(before, after, went);
  }

  return {
    presence(node, image) {
      const of = known.get(node);
      if (!of) return plain(node, image);
      const { nodes, smallest } = about(image);
      if (nodes && has(nodes, of.place)) return 'present';
      return notListed(of.absenceProvenAboveBytes, smallest);
    },
    listed(nodes, images) {
      const sets = images.map((image) => about(image).nodes ?? NO_NODES);
      return nodes.map((node) => {
        const of = known.get(node);
        if (!of) return images.filter((image) => plain(node, image) === 'present').length;
        let count = 0;
        for (const set of sets) if (has(set, of.place)) count += 1;
        return count;
      });
    },
    lost: (node, image) =>
      lost.size > 0 && (lost.get(about(image).canonical)?.has(node.metadata.name ?? '') ?? false),
    replace(before, after) {
      changes += 1;
      const name = (after ?? before)?.metadata.name ?? '';
      const place = placeOf(name);
      if (before) known.delete(before);
      if (after) {
        known.set(after, { place, absenceProvenAboveBytes: absenceProvenAboveBytes(after.status?.images) });
        factsOf(after); // remembered: a plan must not work them out for thousands at once
      }
      relist(place, before, after);
      if (!after) leave(name);
    },
  };
}

function imagesOn(node: KubernetesNode | undefined): ReadonlySet<string> {
  return new Set(node ? indexNodeImages(node).sizes.keys() : []);
}

function without(images: ReadonlySet<string>, others: ReadonlySet<string>): string[] {
  return [...images].filter((canonical) => !others.has(canonical));
}
