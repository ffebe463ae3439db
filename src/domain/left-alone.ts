import type { CollectedNodes } from './collected.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { nodeKey } from './node-set.ts';
import { MAX_FAILURES, type NodeFailure, type PrewarmTaskStatus } from './prewarm-task.ts';
import type { ProgressInput } from './task-progress.ts';
import type { WarmNodes } from './warm-nodes.ts';

/** Why a node fails whose kubelet removes what is brought to it. */
export const COLLECTED = 'collected again and again';

/** A node that misses these images, and is left alone until then. */
export type Held = { name: string; missing: number[]; untilMs: number };

/** Images that were on the node, and that its status says are not there any more. Gives 1 when it is left alone now. */
export function noteGone(
  { task, presence, lost }: ProgressInput,
  { warm, collected }: { warm: WarmNodes; collected: CollectedNodes },
  node: KubernetesNode,
  isThere: (index: number) => boolean,
): number {
  const key = nodeKey(node);
  let backedOff = false;
  for (const [index, { image }] of task.spec.images.entries()) {
    // What costs least first: of thousands of nodes, few have lost anything.
    const was = collected.knows(key, index) || warm.lost(node, index) || lost?.(node, image);
    if (!was || isThere(index) || presence(node, image) !== 'absent') continue;
    if (collected.gone(key, index)) backedOff = true;
  }
  return backedOff ? 1 : 0;
}

/** Keeps the failures of nodes that are left alone as they are, from when that began until it ends. */
export function tellCollected({ task, nowMs }: ProgressInput, status: PrewarmTaskStatus, held: Held[]): void {
  const before = status.failures ?? [];
  const told = new Map(before.filter(isCollected).map((each) => [`${each.node} ${each.image}`, each]));
  if (told.size === 0 && held.length === 0) return;
  const now = held.flatMap(({ name, missing, untilMs }) =>
    missing.map((index): NodeFailure => {
      const image = task.spec.images[index]?.image ?? '';
      const message = `the kubelet removes it again and again: the disk is too small for all its images; next try at ${new Date(untilMs).toISOString()}`;
      const time = told.get(`${name} ${image}`)?.time ?? new Date(nowMs).toISOString();
      return { node: name, image, reason: COLLECTED, message, time };
    }),
  );
  const others = before.filter((each) => !isCollected(each));
  // Those that are not listed are not counted either: nobody would know how many of them to take off again.
  const listed = now.slice(0, Math.max(0, MAX_FAILURES - others.length));
  status.failureCount = (status.failureCount ?? 0) - told.size + listed.length;
  status.failures = [...others, ...listed];
}

function isCollected({ reason }: NodeFailure): boolean {
  return reason === COLLECTED;
}
