import { canonicalName } from './image-presence.ts';
import type { ImageSizes } from './image-sizes.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { noRoom } from './left-out.ts';
import { factsOf, MOST_OF_DISK, type NodeFacts } from './node-facts.ts';

/**
 * Whether a node has room for the images that it has not. What is there is what its status lists: the 50 largest
 * images, in bytes as they were pulled. Unpacked they take more, and layers that images share are counted for each.
 */

/** Why a node has no room for what would come. */
export type NodeRoom = (node: KubernetesNode, facts?: NodeFacts) => string | undefined;

/** @param isThere whether the node has an image, by its index, which then takes no more room */
export function compileRoom(
  images: { image: string }[],
  sizes: ImageSizes,
  isThere: (node: KubernetesNode, index: number) => boolean,
): NodeRoom {
  const known = images.flatMap(({ image }, index) => {
    const bytes = sizes.rangeOf(canonicalName(image) ?? image)?.largest ?? 0;
    return bytes > 0 ? { index, bytes } : [];
  });
  const most = known.reduce((sum, { bytes }) => sum + bytes, 0);
  return (node, { diskBytes, imageBytes } = factsOf(node)) => {
    // Where all would have room it does not matter which are there.
    if (diskBytes === undefined || imageBytes + most <= MOST_OF_DISK * diskBytes) return undefined;
    let [count, coming] = [0, 0];
    for (const { index, bytes } of known) {
      if (isThere(node, index)) continue;
      count += 1;
      coming += bytes;
    }
    if (count === 0 || imageBytes + coming <= MOST_OF_DISK * diskBytes) return undefined;
    const what = `${count} ${count === 1 ? 'image' : 'images'} of ${inWords(coming)}`;
    const there = `${inWords(imageBytes)} there`;
    return noRoom(`${what} and ${there} would pass 80 % of ${inWords(diskBytes)} ephemeral storage`);
  };
}

/** `4.2 GB`: as many digits as tell something. */
function inWords(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  const at = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const number = bytes / 1000 ** at;
  return `${number < 10 && at > 0 ? number.toFixed(1).replace(/\.0$/, '') : Math.round(number)} ${units[at]}`;
}
