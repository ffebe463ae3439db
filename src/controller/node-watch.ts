import { createImageIndex } from '../domain/image-index.ts';
import { createImageSizes } from '../domain/image-sizes.ts';
import type { KubernetesNode } from '../domain/kubernetes.ts';
import { createNodeIndex } from '../domain/node-index.ts';
import { trimNode } from '../domain/trim-node.ts';
import { RESOURCES } from '../kube/resources.ts';
import type { NodeChanges } from './node-changes.ts';
import type { Watches } from './watches.ts';

/** With its labels and images a node has 10 kB and more: to parse and take in 500 at once takes a tenth of a second. */
const NODES_PAGE = 50;

/** The nodes, and what is looked up of them for all tasks. */
export function createNodeWatch(informer: Watches['informer'], onChange: NodeChanges['note']) {
  const sizes = createImageSizes();
  const images = createImageIndex(sizes);
  const index = createNodeIndex();
  const nodes = informer<KubernetesNode>({
    resource: RESOURCES.nodes,
    pageSize: NODES_PAGE,
    trim: trimNode,
    onChange(name, before, after) {
      sizes.replace(before, after);
      images.replace(before, after);
      if (after) index.put(after);
      else index.remove(name);
      onChange(name, before, after);
    },
  });
  return { nodes, index, sizes, presence: images.presence, listed: images.listed, lost: images.lost };
}
