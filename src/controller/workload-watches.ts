import type { Logger } from 'pino';
import { PREWARM } from '../domain/annotations.ts';
import type { OwnerReference } from '../domain/kubernetes.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { type Workload, workloadOf } from '../domain/workload.ts';
import {
  resourceName,
  typeKey,
  typeOf,
  type WorkloadType,
  type WorkloadTypes,
} from '../domain/workload-types.ts';
import { type Availability, type Informer, keyOf } from '../kube/informer.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Watches } from './watches.ts';

/** The opted-in workloads of every type, by `GROUP/KIND/NAMESPACE/NAME`. */
export type WorkloadWatches = {
  types: WorkloadTypes;
  get(key: string): Workload | undefined;
  values(): Workload[];
  /** Takes in what a write of our own returned, ahead of the watch. */
  put(workload: Workload): void;
};

export type WorkloadWatchesOptions = {
  types: WorkloadTypes;
  informer: Watches['informer'];
  onChange(key: string): void;
  /** A custom resource can be seen that could not be seen before. */
  onAppeared(type: WorkloadType): void;
  metrics: Metrics;
  log: Logger;
};

export function workloadKey({ apiVersion, kind, metadata }: Workload): string {
  return `${typeKey(apiVersion, kind)}/${keyOf({ metadata })}`;
}

/** What a key names; undefined for what is no workload, or has no namespace for a task to be in. */
export function readWorkloadKey(
  types: WorkloadTypes,
  key: string,
): { type: WorkloadType; namespace: string; name: string } | undefined {
  const [group, kind, namespace, name] = key.split('/');
  const type = types.get(`${group}/${kind}`);
  return type && namespace && name ? { type, namespace, name } : undefined;
}

/** The key of a workload that owns a task; undefined where the owner is none. */
export function ownerKey(
  types: WorkloadTypes,
  namespace: string | undefined,
  { apiVersion, kind, name }: OwnerReference,
): string | undefined {
  return typeOf(types, apiVersion, kind) && `${typeKey(apiVersion, kind)}/${namespace}/${name}`;
}

/** Tasks are replaced, never changed; each of a thousand owners asks. */
const keysOfOwners = new WeakMap<PrewarmTask, string[]>();

export function ownerKeys(types: WorkloadTypes, task: PrewarmTask): string[] {
  const known = keysOfOwners.get(task);
  if (known) return known;
  const { ownerReferences = [], namespace } = task.metadata;
  const keys = ownerReferences.flatMap((owner) => ownerKey(types, namespace, owner) ?? []);
  keysOfOwners.set(task, keys);
  return keys;
}

/** One informer for each type, of what carries the label; those of custom resources come and go with their definition. */
export function createWorkloadWatches(options: WorkloadWatchesOptions): WorkloadWatches {
  const { types, onChange } = options;
  const informers = new Map(
    [...types].map(([key, type]) => [
      key,
      options.informer({
        name: resourceName(type),
        resource: type,
        labelSelector: `${PREWARM}=true`,
        trim: (object) => workloadOf(types, type, object),
        onChange: (namespaceAndName) => onChange(`${key}/${namespaceAndName}`),
        ...(type.custom ? { onAvailability: tellOf(type) } : {}),
      }),
    ]),
  );

  function tellOf(type: WorkloadType): (now: Availability, error?: unknown) => void {
    const resource = resourceName(type);
    const { customWorkloads: gauge } = options.metrics;
    let before: Availability | undefined;
    return (now, error) => {
      if (now === before) return;
      if (before) gauge.remove({ resource, state: before });
      gauge.set({ resource, state: now }, 1);
      if (now === 'forbidden') options.log.error({ err: error, resource }, STATES[now]);
      else options.log.info({ resource }, STATES[now]);
      if (before && now === 'watched') options.onAppeared(type);
      before = now;
    };
  }

  function split(key: string): [Informer<Workload> | undefined, string] {
    const [group, kind, ...rest] = key.split('/');
    return [informers.get(`${group}/${kind}`), rest.join('/')];
  }

  return {
    types,
    get(key) {
      const [informer, namespaceAndName] = split(key);
      return informer?.get(namespaceAndName);
    },
    values: () => [...informers.values()].flatMap((informer) => informer.values()),
    put: (workload) => informers.get(typeKey(workload.apiVersion, workload.kind))?.put(workload),
  };
}

const STATES: Record<Availability, string> = {
  watched: 'custom workload is watched',
  absent: 'custom workload is not installed; it is looked for',
  forbidden:
    'custom workload may not be watched: let the account of IPS get, list, watch and patch it, or take it out of CUSTOM_WORKLOADS',
};
