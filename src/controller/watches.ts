import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import type { KubeClient } from '../kube/client.ts';
import { createInformer, type Informer, type InformerOptions } from '../kube/informer.ts';
import type { Metrics } from '../metrics/metrics.ts';

type Named = { metadata: KubernetesObject['metadata'] };

/** Every informer there is. Nothing waits long for one whose resource may be missing. */
export type Watches = {
  /** `name` is that of the resource in metrics and logs, where its plural does not do. */
  informer<T extends Named>(
    part: Omit<InformerOptions<T>, 'client' | 'onError'> & { name?: string },
  ): Informer<T>;
  /** Resolves when what decisions rest on has been listed. */
  start(): Promise<void>;
  stop(): void;
  rewatch(): void;
  hasSynced(): boolean;
  states(): { resource: string; synced: boolean }[];
};

/** What may be missing is taken in at the start if it answers this soon; else it follows when it does. */
const MISSABLE_MS = 2_000;

export function createWatches(options: { client: KubeClient; metrics: Metrics; log: Logger }): Watches {
  const { client, metrics, log } = options;
  type Watch = {
    resource: string;
    informer: Pick<Informer<Named>, 'start' | 'stop' | 'rewatch' | 'hasSynced'>;
  };
  const needed: Watch[] = [];
  const missable: Watch[] = [];
  const startAll = (watches: Watch[]) => Promise.all(watches.map((each) => each.informer.start()));

  return {
    informer({ name, ...part }) {
      const resource = name ?? part.resource.plural;
      metrics.watchErrors.inc({ resource }, 0);
      const informer = createInformer({
        client,
        onError(error) {
          metrics.watchErrors.inc({ resource });
          log.warn({ err: error, resource }, 'watch failed, trying again');
        },
        ...part,
      });
      (part.onAvailability ? missable : needed).push({ resource, informer });
      return informer;
    },
    async start() {
      const others = startAll(missable);
      await startAll(needed);
      await Promise.race([others, sleep(MISSABLE_MS, undefined, { ref: false })]);
    },
    stop() {
      for (const { informer } of [...needed, ...missable]) informer.stop();
    },
    rewatch() {
      for (const { informer } of [...needed, ...missable]) informer.rewatch();
    },
    hasSynced: () => needed.every(({ informer }) => informer.hasSynced()),
    states: () => needed.map(({ resource, informer }) => ({ resource, synced: informer.hasSynced() })),
  };
}
