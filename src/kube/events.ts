import type { StatusEvent } from '../domain/status-text.ts';
import type { Workload } from '../domain/workload.ts';
import type { KubeClient } from './client.ts';
import { RESOURCES } from './resources.ts';

/** Writes an Event about a workload, as `kubectl describe` shows it. */
export async function writeEvent(
  client: Pick<KubeClient, 'create'>,
  workload: Workload,
  event: StatusEvent,
  now: Date,
): Promise<void> {
  const { name = '', namespace = '', uid = '', resourceVersion = '' } = workload.metadata;
  const time = now.toISOString();
  await client.create(RESOURCES.events, namespace, {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `${name}.${timeKey(now)}`, namespace },
    involvedObject: {
      apiVersion: workload.apiVersion,
      kind: workload.kind,
      name,
      namespace,
      uid,
      resourceVersion,
    },
    ...event,
    // The API server's limit is 1,024 characters.
    message: event.message.slice(0, 1024),
    source: { component: 'ips' },
    reportingComponent: 'ips',
    count: 1,
    firstTimestamp: time,
    lastTimestamp: time,
  } as Parameters<KubeClient['create']>[2]);
}

let lastKey = 0n;

/** Nanoseconds in hexadecimal, as client-go names Events: kubectl shows those of one second in the order of names. */
function timeKey(now: Date): string {
  const key = BigInt(now.getTime()) * 1_000_000n;
  lastKey = key > lastKey ? key : lastKey + 1n;
  return lastKey.toString(16);
}
