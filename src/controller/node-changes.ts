import type { ImageSizes } from '../domain/image-sizes.ts';
import type { KubernetesNode } from '../domain/kubernetes.ts';
import { type ChangedNode, concernOf } from '../domain/node-concern.ts';
import type { NodeMatcher } from '../domain/node-matching.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { nodeChange } from '../domain/trim-node.ts';
import { keyOf } from '../kube/informer.ts';

export type NodeChanges = {
  note(name: string, before: KubernetesNode | undefined, after: KubernetesNode | undefined): void;
  stop(): void;
};

/** Many changes at once are answered once. */
const SETTLE_MS = 300;
/** To ask of so many changes whom they concern takes longer than to look at all tasks. */
const MANY = 20;
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

  function flush(): void {
    timer = undefined;
    if (options.queue.size() > 0 && waits < MOST_WAITS) {
      waits += 1;
      timer = setTimeout(flush, SETTLE_MS);
      return;
    }
    waits = 0;
    const concerned = changed.size > MANY ? () => true : concernedBy([...changed.values()]);
    changed.clear();
    for (const task of options.tasks.values()) if (concerned(task)) options.queue.add(keyOf(task));
  }

  function concernedBy(changes: ChangedNode[]): (task: PrewarmTask) => boolean {
    const concerns = changes.map((change) => concernOf(change, options.sizes));
    return (task) => {
      const fits = options.fitsOf(task);
      return concerns.some((concern) => concern(task, fits));
    };
  }

  return {
    note(name, before, after) {
      if (before && after) {
        const { images, other } = nodeChange(before, after);
        if (!images && !other) return;
      }
      changed.set(name, { before: changed.has(name) ? changed.get(name)?.before : before, after });
      timer ??= setTimeout(flush, SETTLE_MS);
    },
    stop: () => clearTimeout(timer),
  };
}
