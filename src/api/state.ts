import type { KubernetesNode } from '../domain/kubernetes.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import type { PresenceOf } from '../domain/task-progress.ts';
import type { KubeClient } from '../kube/client.ts';
import { RESOURCES } from '../kube/resources.ts';

/** What the API reads, from memory, and the two things that it does, through the API server. */
export type State = {
  hasSynced(): boolean;
  tasks: { get(key: string): PrewarmTask | undefined; values(): PrewarmTask[] };
  nodes: { values(): KubernetesNode[] };
  /** What is known of an image on a node. */
  presence: PresenceOf;
  createTask(task: PrewarmTask): Promise<PrewarmTask>;
  cancelTask(namespace: string, name: string): Promise<PrewarmTask>;
};

type Held = Pick<State, 'hasSynced' | 'nodes' | 'presence'> & {
  tasks: State['tasks'] & { put(task: PrewarmTask): void };
};

export function createState({
  client,
  hasSynced,
  tasks,
  nodes,
  presence,
}: Held & { client: KubeClient }): State {
  /** Whoever reads next reads what was written, even before the watch tells it. */
  const kept = (task: PrewarmTask): PrewarmTask => {
    tasks.put(task);
    return task;
  };
  return {
    ...{ hasSynced, tasks, nodes, presence },
    createTask: async (task) => kept(await client.create(RESOURCES.tasks, task.metadata.namespace, task)),
    cancelTask: async (namespace, name) =>
      kept(await client.mergePatch(RESOURCES.tasks, namespace, name, { spec: { cancelled: true } })),
  };
}
