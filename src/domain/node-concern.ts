import { canonicalName, imagePresence, indexNodeImages, type NodeImages } from './image-presence.ts';
import type { ImageSizes } from './image-sizes.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { factsOf } from './node-facts.ts';
import type { NodeMatcher } from './node-matching.ts';
import { withoutPassing } from './node-view.ts';
import type { PrewarmTask } from './prewarm-task.ts';
import { type NodeChange, nodeChange } from './trim-node.ts';

/**
 * Which tasks a change of a node can concern. With thousands of nodes one of them changes all the time, and to look at
 * every task anew for each change takes seconds. Rather a task too many than one too few.
 */

/** A node that changed: what it was, and what it is; undefined where it was not there. */
export type ChangedNode = { before: KubernetesNode | undefined; after: KubernetesNode | undefined };

/** A task, and what is the same whatever node changed. */
export type Interest = {
  task: PrewarmTask;
  fits: NodeMatcher;
  /** The images as `canonicalName` spells them. */
  images: string[];
  /** Of all images, at their largest. */
  bytes: number;
};

export type Concern = (interest: Interest) => boolean;

export function interestOf(task: PrewarmTask, fits: NodeMatcher, sizes: ImageSizes): Interest {
  const images = task.spec.images.map(({ image }) => canonicalName(image) ?? image);
  const bytes = images.reduce((sum, image) => sum + (sizes.rangeOf(image)?.largest ?? 0), 0);
  return { task, fits, images, bytes };
}

/** @param sizes as they are after the change */
export function concernOf({ before, after }: ChangedNode, sizes: ImageSizes): Concern {
  const change: NodeChange = before && after ? nodeChange(before, after) : { images: true, other: true };
  const nodes = [before, after].filter((node) => node !== undefined);
  const open = nodes.map(withoutPassing);
  // Not those that are kept with their nodes: what every node that ever changed lists is too much to keep.
  const [had, has] = [before, after].map((node) =>
    node && change.images ? indexNodeImages(node) : NOTHING,
  ) as [NodeImages, NodeImages];
  const resized = resizedImages(had, has);
  const [freeBefore, freeAfter] = [before, after].map((node) => (node ? factsOf(node).freeBytes : 0)) as [
    number,
    number,
  ];
  const proves = had.absenceProvenAboveBytes !== has.absenceProvenAboveBytes ? [had, has] : undefined;

  /** Of images that both or neither of the two list. */
  function byProof(images: string[]): boolean {
    if (!proves) return false;
    return images.some((image) => {
      const [then, now] = proves.map((listed) =>
        imagePresence(listed, image, (canonical) => sizes.rangeOf(canonical)?.smallest),
      );
      return then !== now;
    });
  }

  return ({ task, fits, images, bytes }) => {
    if (!change.images && !change.other) return false;
    // Who chooses compares all nodes; who has none tells why of all.
    if (task.spec.maxNodes || !task.status?.nodes?.eligible) return true;
    if (images.some((image) => resized.has(image))) return true;
    const bySpace = freeBefore !== freeAfter && Math.min(freeBefore, freeAfter) < bytes;
    if (!change.other && !bySpace && !byProof(images)) return false;
    return open.some((node) => fits(node) === undefined);
  };
}

const NOTHING: NodeImages = { sizes: new Map(), absenceProvenAboveBytes: -1 };

/** The images that came, went, or have another size: what a node tells of them counts for all nodes. */
function resizedImages({ sizes: had }: NodeImages, { sizes: has }: NodeImages): ReadonlySet<string> {
  const resized = new Set<string>();
  for (const [name, size] of has) if (had.get(name) !== size) resized.add(name);
  for (const name of had.keys()) if (!has.has(name)) resized.add(name);
  return resized;
}
