import { canonicalName } from './image-presence.ts';
import type { ImageSizes } from './image-sizes.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { noRoom } from './left-out.ts';
import type { NodeMatcher } from './node-matching.ts';
import { parseQuantity } from './quantity.ts';

/**
 * Whether a node has room for the images that it has not. What is there is what its status lists: the 50 largest
 * images, in bytes as they were pulled. Unpacked they take more, and layers that images share are counted for each.
 */

/** The kubelet begins to remove images at 85 %, and goes on until 80 % (its image garbage collection). */
const MOST_OF_DISK = 0.8;
const EPHEMERAL_STORAGE = 'ephemeral-storage';

type Disk = { bytes: number | undefined; imageBytes: number };

const disks = new WeakMap<KubernetesNode, Disk>();

/** @param isThere whether the node has an image, by its index, which then takes no more room */
export function compileRoom(
  images: { image: string }[],
  sizes: ImageSizes,
  isThere: (node: KubernetesNode, index: number) => boolean,
): NodeMatcher {
  const known = images.flatMap(({ image }, index) => {
    const bytes = sizes.rangeOf(canonicalName(image) ?? image)?.largest ?? 0;
    return bytes > 0 ? { index, bytes } : [];
  });
  const most = known.reduce((sum, { bytes }) => sum + bytes, 0);
  return (node) => {
    const disk = diskOf(node);
    // Where all would have room it does not matter which are there.
    if (disk.bytes === undefined || disk.imageBytes + most <= MOST_OF_DISK * disk.bytes) return undefined;
    let [count, coming] = [0, 0];
    for (const { index, bytes } of known) {
      if (isThere(node, index)) continue;
      count += 1;
      coming += bytes;
    }
    if (count === 0 || disk.imageBytes + coming <= MOST_OF_DISK * disk.bytes) return undefined;
    const what = `${count} ${count === 1 ? 'image' : 'images'} of ${inWords(coming)}`;
    const there = `${inWords(disk.imageBytes)} there`;
    return noRoom(`${what} and ${there} would pass 80 % of ${inWords(disk.bytes)} ephemeral storage`);
  };
}

/** What images leave of 80 % of the disk; 0 where the node tells of no disk. */
export function freeBytes(node: KubernetesNode): number {
  const { bytes = 0, imageBytes } = diskOf(node);
  return Math.max(0, MOST_OF_DISK * bytes - imageBytes);
}

function diskOf(node: KubernetesNode): Disk {
  const known = disks.get(node);
  if (known) return known;
  const { capacity, allocatable, images = [] } = node.status ?? {};
  const disk = {
    bytes: parseQuantity(capacity?.[EPHEMERAL_STORAGE] ?? allocatable?.[EPHEMERAL_STORAGE]),
    imageBytes: images.reduce((sum, { sizeBytes = 0 }) => sum + sizeBytes, 0),
  };
  disks.set(node, disk);
  return disk;
}

/** `4.2 GB`: as many digits as tell something. */
function inWords(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  const at = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const number = bytes / 1000 ** at;
  return `${number < 10 && at > 0 ? number.toFixed(1).replace(/\.0$/, '') : Math.round(number)} ${units[at]}`;
}
