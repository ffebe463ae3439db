import { createHash } from 'node:crypto';
import type { KubernetesNode } from './kubernetes.ts';

/**
 * A set of nodes as a string of six characters each, so that 5,000 nodes take 30 kB of a task's status. The key is of
 * the node's uid: a node that was replaced under its old name is another, cold one. 36 bits make two of 5,000 nodes
 * meet once in 5,500 clusters; the price is one image that is not warmed ahead.
 */

const WIDTH = 6;
const keys = new WeakMap<KubernetesNode, string>();

export function nodeKey(node: KubernetesNode): string {
  const known = keys.get(node);
  if (known) return known;
  const text = node.metadata.uid ?? node.metadata.name ?? '';
  const key = createHash('sha256').update(text).digest('base64url').slice(0, WIDTH);
  keys.set(node, key);
  return key;
}

export function packNodes(set: Iterable<string>): string {
  return [...set].sort().join('');
}

export function unpackNodes(packed: string | undefined): Set<string> {
  const set = new Set<string>();
  for (let at = 0; packed && at + WIDTH <= packed.length; at += WIDTH) set.add(packed.slice(at, at + WIDTH));
  return set;
}

/** The keys of nodes in a given order, and the one at an index of it. */
export function listKeys(nodes: KubernetesNode[]): string {
  return nodes.map(nodeKey).join('');
}

export function keyAt(list: string, index: number): string {
  return list.slice(index * WIDTH, (index + 1) * WIDTH);
}
