import type { TestProject } from 'vitest/node';
import { type Cluster, startCluster, stopCluster } from '../cluster/cluster.ts';
import { givenCluster } from '../cluster/given.ts';
import { installIps } from './ips.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    clusterFolder: string;
  }
}

const say = (line: string) => console.error(`• ${line}`);

/** One cluster for all files; it ends with this process, however that ends. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = await givenCluster(say);
  const cluster: Cluster = given ?? (await startCluster({ name: `e2e-${process.pid}`, lifeline: true, say }));
  await installIps(cluster);
  project.provide('clusterFolder', cluster.folder);
  return async () => {
    if (!given) await stopCluster(cluster);
  };
}
