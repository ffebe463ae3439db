import { indexOfNode } from './image-presence.ts';
import type { KubernetesNode } from './kubernetes.ts';

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
  const told = new Map<string, Map<number, number>>();
  const remembered = new Map<string, SizeRange>();
  const sizes: ImageSizes = {
    rangeOf(canonical) {
      const known = told.get(canonical);
      return known ? rangeOf(known.keys()) : remembered.get(canonical);
    },
    replace(before, after) {
      for (const [name, size] of sizesOn(after)) add(name, size);
      for (const [name, size] of sizesOn(before)) remove(name, size);
    },
  };
  for (const node of nodes) sizes.replace(undefined, node);
  return sizes;

  function add(name: string, size: number): void {
    const known = told.get(name) ?? new Map<number, number>();
    known.set(size, (known.get(size) ?? 0) + 1);
    told.set(name, known);
    remembered.delete(name);
  }

  function remove(name: string, size: number): void {
    const known = told.get(name);
    const left = (known?.get(size) ?? 0) - 1;
    if (left > 0) known?.set(size, left);
    else if (known && known.size > 1) known.delete(size);
    else {
      told.delete(name);
      remembered.set(name, { smallest: size, largest: size });
      const [oldest] = remembered.keys();
      if (remembered.size > MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
    }
  }
}

/** Without those that are not told. */
function sizesOn(node: KubernetesNode | undefined): [string, number][] {
  return node ? [...indexOfNode(node).sizes].filter(([, size]) => size > 0) : [];
}

function rangeOf(known: Iterable<number>): SizeRange {
  let [smallest, largest] = [Number.POSITIVE_INFINITY, 0];
  for (const size of known) {
    smallest = Math.min(smallest, size);
    largest = Math.max(largest, size);
  }
  return { smallest, largest };
}
