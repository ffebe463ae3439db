import type { KubernetesObject } from '../domain/kubernetes.ts';
import { createKubeClient } from '../kube/client.ts';
import { loadUserKubeConfig } from '../kube/config.ts';
import { ignoreNotFound } from '../kube/errors.ts';
import { RESOURCES } from '../kube/resources.ts';

/** A cluster as a plan needs it, read with the rights of whoever calls. */
export type ClusterView = {
  nodes(): Promise<KubernetesObject[]>;
  runtimeClass(name: string): Promise<KubernetesObject | undefined>;
};

const PAGE = 500;

export function openCluster(options: {
  kubeconfig: string | undefined;
  context: string | undefined;
  userAgent: string;
}): ClusterView {
  const client = createKubeClient(loadUserKubeConfig(options.kubeconfig, options.context), options);
  return {
    async nodes() {
      const nodes: KubernetesObject[] = [];
      let next: string | undefined;
      do {
        const query = { limit: PAGE, continue: next };
        const page = await client.list<KubernetesObject>(RESOURCES.nodes, undefined, query);
        nodes.push(...page.items);
        next = page.continue;
      } while (next);
      return nodes;
    },
    runtimeClass: (name) =>
      client.get<KubernetesObject>(RESOURCES.runtimeClasses, undefined, name).catch(ignoreNotFound),
  };
}
