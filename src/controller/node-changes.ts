import type { ImageSizes } from '../domain/image-sizes.ts';
import type { KubernetesNode } from '../domain/kubernetes.ts';
import { type ChangedNode, concernOf, type Interest, interestOf } from '../domain/node-concern.ts';
import type { NodeMatcher } from '../domain/node-matching.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { nodeChange } from '../domain/trim-node.ts';
import { keyOf } from '../kube/informer.ts';
import { createPace } from '../kube/pace.ts';
import { PLAN_SLICE_MS } from './task-reconciler.ts';

export type NodeChanges = {
  note(name: string, before: KubernetesNode | undefined, after: KubernetesNode | undefined): void;
  stop(): void;
};

/** Many changes at once are answered once. */
const SETTLE_MS = 300;
/** What is worked out of each, the images of two lists, stays in memory while tasks are asked. */
const CHANGES_AT_ONCE = 200;
/** Changes that keep coming wait for the tasks of those before, but not for ever. */
const MOST_WAITS = 20;

/** Has those tasks looked at that a change of nodes can concern. A heartbeat concerns none. */
export function createNodeChanges(options: {
  tasks: { values(): PrewarmTask[] };
  fitsOf: (task: PrewarmTask) => NodeMatcher;
  sizes: ImageSizes;
  queue: { add(key: string): void; size(): number };
}): NodeChanges {
  const changed = new Map<string, ChangedNode>();
  let timer: NodeJS.Timeout | undefined;
  let waits = 0;
  let stopped = false;

  async function flush(): Promise<void> {
    if (options.queue.size() > 0 && waits < MOST_WAITS) {
      waits += 1;
      timer = setTimeout(() => void flush(), SETTLE_MS);
      return;
    }
    waits = 0;
    const changes = [...changed.values()];
    changed.clear();
    await askAll(changes);
    timer = changed.size > 0 && !stopped ? setTimeout(() => void flush(), SETTLE_MS) : undefined;
  }

  async function askAll(changes: ChangedNode[]): Promise<void> {
    const pace = createPace(PLAN_SLICE_MS);
    let interests: Interest[] = [];
    for (const task of options.tasks.values()) {
      interests.push(interestOf(task, options.fitsOf(task), options.sizes));
      await pace();
    }
    for (let first = 0; first < changes.length && interests.length > 0 && !stopped; first += CHANGES_AT_ONCE)
      interests = await askSome(changes.slice(first, first + CHANGES_AT_ONCE), interests, pace);
  }

  /** Gives those of them whom none of the changes concerns. */
  async function askSome(
    changes: ChangedNode[],
    interests: Interest[],
    pace: () => Promise<void>,
  ): Promise<Interest[]> {
    const concerns = [];
    for (const change of changes) {
      concerns.push(concernOf(change, options.sizes));
      await pace();
    }
    const left = [];
    for (const interest of interests) {
      if (concerns.some((concern) => concern(interest))) options.queue.add(keyOf(interest.task));
      else left.push(interest);
      await pace();
    }
    return left;
  }

  return {
    note(name, before, after) {
      if (before && after) {
        const { images, other } = nodeChange(before, after);
        if (!images && !other) return;
      }
      changed.set(name, { before: changed.has(name) ? changed.get(name)?.before : before, after });
      timer ??= setTimeout(() => void flush(), SETTLE_MS);
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
