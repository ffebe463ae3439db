import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { KubeClient, Query } from '../../src/kube/client.ts';
import { RESOURCES, type Resource } from '../../src/kube/resources.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { WatchEvent } from '../e2e/witness.ts';
import type { AuditEntry } from './invariants.ts';
import type { Told } from './limits.ts';

/** What the API server told of the warmers, the tasks and the workloads, from one moment on. */
export type Observer = {
  jobs: Told[];
  pods: Told[];
  tasks: Told[];
  audit(): Promise<AuditEntry[]>;
  /** Every state of the objects whose name or owner has that text, a line each, with the time. */
  historyOf(text: string): Promise<string[]>;
  stop(): Promise<void>;
};

const KINDS: { kind: string; resource: Resource; query: Query }[] = [
  { kind: 'Job', resource: RESOURCES.jobs, query: { labelSelector: 'ips/warmer=true' } },
  { kind: 'pod', resource: RESOURCES.pods, query: { labelSelector: 'ips/warmer=true' } },
  { kind: 'PrewarmTask', resource: RESOURCES.tasks, query: {} },
  { kind: 'Deployment', resource: RESOURCES.deployments, query: {} },
];
const AGAIN_MS = 200;

/** Everything goes into `folder/history.jsonl`, too, for whoever looks for the cause of a violation. */
export async function observe(cluster: Cluster, client: KubeClient, folder: string): Promise<Observer> {
  const file = join(folder, 'history.jsonl');
  const log = createWriteStream(file);
  const ending = new AbortController();
  const events: Record<string, Told[]> = { Job: [], pod: [], PrewarmTask: [] };

  function note(kind: string, event: WatchEvent): void {
    if (event.object.metadata.managedFields) delete event.object.metadata.managedFields;
    const now = new Date();
    events[kind]?.push({ ...event, atMs: now.getTime() });
    log.write(`${JSON.stringify({ time: now.toISOString(), kind, ...event })}\n`);
  }

  async function follow(
    { kind, resource, query }: (typeof KINDS)[number],
    listed: () => void,
  ): Promise<void> {
    const known = new Map<string, WatchEvent['object']>();
    const take = (event: WatchEvent) => {
      const uid = event.object.metadata.uid ?? '';
      if (event.type === 'DELETED') known.delete(uid);
      else known.set(uid, event.object);
      note(kind, event);
    };
    let version = '';
    while (!ending.signal.aborted) {
      try {
        if (!version) {
          version = await list(resource, query, known, take);
          listed();
        }
        await client.watch(
          resource,
          { ...query, resourceVersion: version },
          ({ type, object }) => {
            if (type === 'ERROR') throw new Error(object.message);
            version = object.metadata.resourceVersion ?? version;
            if (type !== 'BOOKMARK') take({ type, object: object as WatchEvent['object'] });
          },
          ending.signal,
        );
      } catch (error) {
        // Where the API server no longer knows the version, or did not answer: from a list on.
        if (!isUnanswered(error)) version = '';
        await sleep(AGAIN_MS);
      }
    }
  }

  /** What a gap hid: gone first, then there. So two that were never there at once are not taken for it. */
  async function list(
    resource: Resource,
    query: Query,
    known: ReadonlyMap<string, WatchEvent['object']>,
    take: (event: WatchEvent) => void,
  ): Promise<string> {
    const { items, resourceVersion } = await client.list<KubernetesObject>(resource, undefined, query);
    const there = new Map(items.map((item) => [item.metadata.uid, item]));
    for (const object of [...known.values()])
      if (!there.has(object.metadata.uid)) take({ type: 'DELETED', object });
    for (const object of there.values()) take({ type: 'LISTED', object: object as WatchEvent['object'] });
    return resourceVersion;
  }

  const following: Promise<void>[] = [];
  await Promise.all(
    KINDS.map((kind) => new Promise<void>((resolve) => following.push(follow(kind, resolve)))),
  );
  return {
    jobs: events['Job'] ?? [],
    pods: events['pod'] ?? [],
    tasks: events['PrewarmTask'] ?? [],
    async audit() {
      const lines = (await readFile(join(cluster.folder, 'logs/audit.log'), 'utf8')).split('\n');
      return lines.filter(isWhole).map((line) => JSON.parse(line) as AuditEntry);
    },
    async historyOf(text) {
      const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line.includes(`"${text}`));
      return lines.filter(isWhole).map(shortened);
    },
    async stop() {
      ending.abort();
      await Promise.all(following);
      await new Promise((resolve) => log.end(resolve));
    },
  };
}

function isUnanswered(error: unknown): boolean {
  return error instanceof Error && 'status' in error && error.status === 0;
}

/** The API server, or we, may have been killed over a line. */
function isWhole(line: string): boolean {
  return line.startsWith('{') && line.endsWith('}');
}

function shortened(line: string): string {
  const { time, kind, type, object } = JSON.parse(line) as WatchEvent & {
    time: string;
    kind: string;
    object: { status?: unknown };
  };
  const { name, deletionTimestamp, annotations, labels } = object.metadata;
  const told = toldOf();

  function toldOf(): unknown {
    if (kind === 'Deployment') return { annotations, labels };
    return kind === 'pod' ? (object.status as { phase?: string } | undefined)?.phase : object.status;
  }

  const state = (JSON.stringify(told) ?? '').slice(0, 300);
  return `${time} ${kind} ${name} ${type}${deletionTimestamp ? ' (going)' : ''} ${state}`;
}
