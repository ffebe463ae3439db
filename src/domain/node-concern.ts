import { canonicalName, indexNodeImages } from './image-presence.ts';
import type { ImageSizes } from './image-sizes.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { factsOf } from './node-facts.ts';
import type { NodeMatcher } from './node-matching.ts';
import { presenceBy, withoutPassing } from './node-view.ts';
import type { PrewarmTask } from './prewarm-task.ts';
import { type NodeChange, nodeChange } from './trim-node.ts';

/**
 * Which tasks a change of a node can concern. With thousands of nodes one of them changes all the time, and to look at
 * every task anew for each change takes seconds. Rather a task too many than one too few.
 */

/** A node that changed: what it was, and what it is; undefined where it was not there. */
export type ChangedNode = { before: KubernetesNode | undefined; after: KubernetesNode | undefined };

export type Concern = (task: PrewarmTask, fits: NodeMatcher) => boolean;

/** @param sizes as they are after the change */
export function concernOf({ before, after }: ChangedNode, sizes: ImageSizes): Concern {
  const change: NodeChange = before && after ? nodeChange(before, after) : { images: true, other: true };
  const resized = change.images ? resizedImages(before, after) : new Set<string>();
  const presence = presenceBy(sizes);
  const shows = (node: KubernetesNode | undefined, image: string) => node && presence(node, image);
  const [freeBefore, freeAfter] = [before, after].map((node) => (node ? factsOf(node).freeBytes : 0)) as [
    number,
    number,
  ];
  const largest = (image: string) => sizes.rangeOf(canonicalName(image) ?? image)?.largest ?? 0;

  function bySpaceOrPresence({ spec: { images } }: PrewarmTask): boolean {
    const all = images.reduce((sum, { image }) => sum + largest(image), 0);
    if (freeBefore !== freeAfter && Math.min(freeBefore, freeAfter) < all) return true;
    return images.some(({ image }) => shows(before, image) !== shows(after, image));
  }

  return (task, fits) => {
    if (!change.images && !change.other) return false;
    // Who chooses compares all nodes; who has none tells why of all.
    if (task.spec.maxNodes || !task.status?.nodes?.eligible) return true;
    if (change.images && task.spec.images.some(({ image }) => resized.has(canonicalName(image) ?? image)))
      return true;
    const usable = [before, after].some((node) => node && fits(withoutPassing(node)) === undefined);
    return usable && (change.other || bySpaceOrPresence(task));
  };
}

/** The images that came, went, or have another size: what a node tells of them counts for all nodes. */
function resizedImages(
  before: KubernetesNode | undefined,
  after: KubernetesNode | undefined,
): ReadonlySet<string> {
  const sizesOn = (node: KubernetesNode | undefined) => (node ? indexNodeImages(node).sizes : new Map());
  const [had, has] = [sizesOn(before), sizesOn(after)];
  const names = [...had.keys(), ...has.keys()];
  return new Set(names.filter((name) => had.get(name) !== has.get(name)));
}
