import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { NODES_ANNOTATION, TASK_LABEL } from '../../src/domain/annotations.ts';
import { parseIndexes } from '../../src/domain/batch-outcome.ts';
import { cannotPull } from '../../src/domain/container-status.ts';
import type { ContainerStatus, KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { Kit } from './kit.ts';

type Volume = { image?: { reference?: string } };
type Container = { name: string; image: string };
type PodSpec = { nodeName?: string; volumes?: Volume[]; containers: Container[] };
type Seen = KubernetesObject & {
  spec: PodSpec & { template?: { metadata: KubernetesObject['metadata']; spec: PodSpec } };
  status?: {
    phase?: string;
    conditions?: { type: string; status: string }[];
    completedIndexes?: string;
    failedIndexes?: string;
    containerStatuses?: ContainerStatus[];
  };
};
export type WatchEvent = { type: string; object: Seen };

/** What the API server saw of the warmers of a namespace, from one moment on, without a gap. */
export type Witness = {
  /** Each time that a node had the same work of a task by two Jobs, or two pods, that were both unfinished. */
  overlaps(): string[];
  /** How many Jobs there have been, of one task by its uid, or of all. */
  jobs(task?: string): number;
  /** From now on: gives how many warmers pulled at the same time, at most, and of how many tasks. */
  mostFrom(): () => AtOnce;
  stop(): void;
};

export type AtOnce = { pulls: number; tasks: number };

/** Watches from the version of a list on, so that nothing between is missed, however late the watch begins. */
export async function witness(kit: Kit): Promise<Witness> {
  const children: ChildProcess[] = [];
  const events = new Map<string, WatchEvent[]>();
  for (const [kind, path] of [
    ['Job', `/apis/batch/v1/namespaces/${kit.namespace}/jobs`],
    ['pod', `/api/v1/namespaces/${kit.namespace}/pods`],
  ] as const) {
    const list = JSON.parse(await kit.kubectl(['get', '--raw', `${path}?limit=1`])) as KubernetesObject;
    const since = list.metadata.resourceVersion ?? '';
    const url = `${path}?watch=1&resourceVersion=${since}&timeoutSeconds=3600&labelSelector=ips%2Fwarmer%3Dtrue`;
    const child = spawn(kit.cluster.binaries.path('kubectl'), ['get', '--raw', url], {
      env: { ...process.env, KUBECONFIG: kit.cluster.kubeconfigFile },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    const seen: WatchEvent[] = [];
    events.set(kind, seen);
    createInterface({ input: child.stdout }).on('line', (line) => seen.push(JSON.parse(line) as WatchEvent));
  }
  const of = (kind: string) => events.get(kind) ?? [];
  const isGapless = () => {
    for (const child of children) if (child.exitCode !== null) throw new Error('a watch of the test ended');
  };
  return {
    overlaps() {
      isGapless();
      return ['Job', 'pod'].flatMap((kind) => overlapsIn(kind, of(kind)));
    },
    mostFrom() {
      const from = of('pod').length;
      return () => {
        isGapless();
        const told = pullsAtOnce(of('pod')).slice(from);
        const most = (what: keyof AtOnce) => Math.max(0, ...told.map((each) => each[what]));
        return { pulls: most('pulls'), tasks: most('tasks') };
      };
    },
    jobs(task) {
      const jobs = of('Job').map(({ object }) => object.metadata);
      const wanted = jobs.filter((job) => !task || job.ownerReferences?.some(({ uid }) => uid === task));
      return new Set(wanted.map(({ uid }) => uid)).size;
    },
    stop() {
      for (const child of children) child.kill();
    },
  };
}

/** In the order in which the API server told them. */
export function overlapsIn(kind: string, events: WatchEvent[]): string[] {
  const unfinished = new Map<string, Seen>();
  const found = new Set<string>();
  for (const { type, object } of events) {
    const uid = object.metadata.uid ?? '';
    if (type === 'DELETED' || isFinished(object)) {
      unfinished.delete(uid);
      continue;
    }
    unfinished.set(uid, object);
    for (const other of unfinished.values()) {
      if (other.metadata.uid === uid || areOfOneJob(object, other)) continue;
      const nodes = nodesOf(object).filter((node) => nodesOf(other).includes(node));
      if (nodes.length === 0 || !sameWork(object, other)) continue;
      found.add(`${kind}s ${other.metadata.name} and ${object.metadata.name} on ${nodes.join(', ')}`);
    }
  }
  return [...found];
}

/**
 * A pod that has a node, and is not known to have its images. Who is being removed, or failed once and is tried again, is
 * the kubelet's to end.
 */
function pulls({ metadata, spec, status }: Seen): boolean {
  if (metadata.deletionTimestamp || !spec.nodeName || status?.phase !== 'Pending') return false;
  return !status.containerStatuses?.some((each) => cannotPull(each));
}

/** How many pulled after each event, in the order in which the API server told them, and of how many tasks. */
export function pullsAtOnce(events: WatchEvent[], counts: (pod: Seen) => boolean = () => true): AtOnce[] {
  const pulling = new Map<string, string | undefined>();
  return events.map(({ type, object }) => {
    const { uid = '', labels } = object.metadata;
    if (type !== 'DELETED' && pulls(object) && counts(object)) pulling.set(uid, labels?.[TASK_LABEL]);
    else pulling.delete(uid);
    return { pulls: pulling.size, tasks: new Set(pulling.values()).size };
  });
}

function isFinished({ status }: Seen): boolean {
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return true;
  // From `FailureTarget` on a Job makes no more pods; it ends when its last pod has, which a lost node may hold up.
  return (status?.conditions ?? []).some(
    ({ type, status: value }) => ['Complete', 'Failed', 'FailureTarget'].includes(type) && value === 'True',
  );
}

/** Of a Job, those whose index has not ended yet. */
function nodesOf({ spec, status }: Seen): string[] {
  if (!spec.template) return spec.nodeName ? [spec.nodeName] : [];
  const ended = [status?.completedIndexes, status?.failedIndexes].map(parseIndexes);
  const nodes = spec.template.metadata.annotations?.[NODES_ANNOTATION]?.split(',') ?? [];
  return nodes.filter((_, index) => !ended.some((indexes) => indexes.has(index)));
}

/**
 * Where an API server dies over its answer, the Job controller makes a pod anew that it does not know to be there, and
 * removes one of the two when it sees them: nobody gave that work twice.
 */
function areOfOneJob(one: Seen, other: Seen): boolean {
  const [mine, others] = [one, other].map(({ metadata }) => metadata.ownerReferences?.[0]);
  return mine?.kind === 'Job' && mine.uid === others?.uid;
}

function sameWork(one: Seen, other: Seen): boolean {
  if (one.metadata.labels?.[TASK_LABEL] !== other.metadata.labels?.[TASK_LABEL]) return false;
  return imagesOf(one).some((image) => imagesOf(other).includes(image));
}

/** By either strategy: as volumes, or as containers that bear the name of an image. */
function imagesOf({ spec }: Seen): string[] {
  const { volumes = [], containers } = spec.template?.spec ?? spec;
  const started = containers.filter(({ name }) => /^image-\d+$/.test(name));
  return [...volumes.flatMap(({ image }) => image?.reference ?? []), ...started.map(({ image }) => image)];
}
