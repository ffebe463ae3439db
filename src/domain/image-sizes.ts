import { indexNodeImages } from './image-presence.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { sameImages } from './trim-node.ts';

/**
 * How large images are, from what all nodes tell of theirs: known after the first node has one. By canonical reference.
 * A tag that moved, or an image for several architectures, has several sizes at once.
 */
export type ImageSizes = {
  /** In bytes; undefined where no node told it yet. */
  rangeOf(canonical: string): SizeRange | undefined;
  /** A node came, changed or went. */
  replace(before: KubernetesNode | undefined, after: KubernetesNode | undefined): void;
};

export type SizeRange = { smallest: number; largest: number };

/** Of images that no node lists any more: what was collected everywhere is still as large. */
const MAX_REMEMBERED = 10_000;

export function createImageSizes(nodes: Iterable<KubernetesNode> = []): ImageSizes {
  /** For each image, how many nodes tell each size. */
  const told = new Map<string, { nodes: Map<number, number>; range: SizeRange }>();
  const remembered = new Map<string, SizeRange>();
  const sizes: ImageSizes = {
    rangeOf: (canonical) => told.get(canonical)?.range ?? remembered.get(canonical),
    replace(before, after) {
      if (before && after && sameImages(before.status?.images, after.status?.images)) return;
      for (const [name, size] of sizesOn(after)) add(name, size);
      for (const [name, size] of sizesOn(before)) remove(name, size);
    },
  };
  for (const node of nodes) sizes.replace(undefined, node);
  return sizes;

  function add(name: string, size: number): void {
    const nodes = told.get(name)?.nodes ?? new Map<number, number>();
    const before = nodes.get(size);
    nodes.set(size, (before ?? 0) + 1);
    if (before !== undefined) return;
    told.set(name, { nodes, range: rangeOf(nodes) });
    remembered.delete(name);
  }

  function remove(name: string, size: number): void {
    const nodes = told.get(name)?.nodes ?? new Map<number, number>();
    const left = (nodes.get(size) ?? 0) - 1;
    if (left > 0) nodes.set(size, left);
    else if (nodes.size > 1) {
      nodes.delete(size);
      told.set(name, { nodes, range: rangeOf(nodes) });
    } else {
      told.delete(name);
      remembered.set(name, { smallest: size, largest: size });
      const [oldest] = remembered.keys();
      if (remembered.size > MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
    }
  }
}

/** Without those that are not told. */
function sizesOn(node: KubernetesNode | undefined): [string, number][] {
  return node ? [...indexNodeImages(node).sizes].filter(([, size]) => size > 0) : [];
}

function rangeOf(nodes: ReadonlyMap<number, number>): SizeRange {
  return { smallest: Math.min(...nodes.keys()), largest: Math.max(...nodes.keys()) };
}
