/**
 * Whether an image is on a node, as far as the node's status proves it. Presence in the list is proof. Absence is
 * proof only where the kubelet cannot have left the image out of the list, which holds the largest images
 * (`nodeStatusMaxImages`, 50 by default) with at most five names each (kubelet, nodestatus, `Images`).
 */

import { normalizeImage } from './image-reference.ts';
import type { ContainerImage, KubernetesNode } from './kubernetes.ts';

export type Presence = 'present' | 'absent' | 'unknown';

/** What a node's status says about its images, by canonical reference. */
export type NodeImages = {
  /** The size in bytes of each image that is there, under its tags and its digests; 0 where it is not told. */
  sizes: ReadonlyMap<string, number>;
  /**
   * An image larger than this would be listed if it were there. -1 where any would be, because the list is
   * complete; Infinity where the list proves no absence.
   */
  absenceProvenAboveBytes: number;
};

/**
 * The kubelet's default. Of a kubelet set to less, the node does not tell: its list passes for a complete one, and
 * an absence read from it may be wrong.
 */
const NODE_STATUS_MAX_IMAGES = 50;
/** kubelet, nodestatus, `MaxNamesPerImageInNodeStatus`: digests come first, so it is tags that are cut off. */
const MAX_NAMES_PER_IMAGE = 5;

const MAX_REMEMBERED_NAMES = 20_000;

/**
 * The same few thousand names come again from every node at every status update. Remembering them saves the
 * parsing, and makes the indexes of all nodes share one string for each name. What is remembered is the result of
 * a pure function, so that no caller can tell whether it was.
 */
const canonicalNames = new Map<string, string | undefined>();

/** Of a list of images: one that is larger than this would be listed. See `NodeImages`. */
export function absenceProvenAboveBytes(images: ContainerImage[] | undefined): number {
  return images === undefined ? Infinity : absenceProvenAbove(images);
}

/** Indexes a node's list of images for many questions. Names that are no references (`<none>@<none>`) are left out. */
export function indexNodeImages(node: KubernetesNode): NodeImages {
  const images = node.status?.images;
  const sizes = new Map<string, number>();
  for (const { names, sizeBytes = 0 } of images ?? []) {
    for (const name of names ?? []) {
      const canonical = canonicalName(name);
      if (canonical !== undefined) {
        sizes.set(canonical, sizeBytes);
      }
    }
  }
  return { sizes, absenceProvenAboveBytes: absenceProvenAboveBytes(images) };
}

const indexes = new WeakMap<KubernetesNode, NodeImages>();

/** Nodes are replaced, never changed, so an index lives as long as its node; for thousands see image-index.ts. */
export function indexOfNode(node: KubernetesNode): NodeImages {
  const known = indexes.get(node);
  if (known) return known;
  const index = indexNodeImages(node);
  indexes.set(node, index);
  return index;
}

/**
 * @param canonical the image, as `normalizeImage` spells it
 * @param sizeOf its size in bytes where it is known, asked only where it decides
 */
export function imagePresence(
  images: NodeImages,
  canonical: string,
  sizeOf: (canonical: string) => number | undefined,
): Presence {
  if (images.sizes.has(canonical)) {
    return 'present';
  }
  const above = images.absenceProvenAboveBytes;
  return notListed(above, above >= 0 && above < Infinity ? sizeOf(canonical) : undefined);
}

/** Of an image that is not listed. */
export function notListed(absenceProvenAboveBytes: number, sizeBytes = 0): Presence {
  return sizeBytes > absenceProvenAboveBytes ? 'absent' : 'unknown';
}

function absenceProvenAbove(images: ContainerImage[]): number {
  // The missing name may be one more name of an image that is listed.
  if (images.some(({ names }) => (names?.length ?? 0) >= MAX_NAMES_PER_IMAGE)) {
    return Infinity;
  }
  if (images.length < NODE_STATUS_MAX_IMAGES) {
    return -1;
  }
  // A size that is not told is not the smallest: it proves nothing.
  return Math.min(...images.map(({ sizeBytes }) => sizeBytes || Infinity));
}

export function canonicalName(name: string): string | undefined {
  const known = canonicalNames.get(name);
  if (known !== undefined || canonicalNames.has(name)) {
    return known;
  }
  const canonical = normalizeImage(name);
  if (canonicalNames.size >= MAX_REMEMBERED_NAMES) {
    canonicalNames.clear();
  }
  // Where nothing changes, the key itself is kept, not an equal copy of it.
  canonicalNames.set(name, canonical === name ? name : canonical);
  return canonical;
}
