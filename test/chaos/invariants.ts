import { OUTPUT, PREWARM } from '../../src/domain/annotations.ts';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { overlapsIn, type WatchEvent } from '../e2e/witness.ts';

/** What must hold whatever dies, by what was seen from outside. Pure: recorded histories go in, violations come out. */

/** By which the API server knows the writes of the load. */
export const LOAD_AGENT = 'chaos';

export type Violation = { invariant: string; what: string; object?: string };

/** A line of the API server's audit log. */
export type AuditEntry = {
  verb: string;
  userAgent?: string;
  requestReceivedTimestamp?: string;
  /** Of requests that took over half a second, what took how long. */
  annotations?: Record<string, string>;
  objectRef?: { resource: string; namespace?: string; name?: string; subresource?: string };
  responseStatus?: { code: number };
};

/** No node was given the same work by two Jobs at once, nor was a Job made again after it had been there. */
export function workDoneTwice(jobs: WatchEvent[], pods: WatchEvent[], audit: AuditEntry[]): Violation[] {
  const overlaps = [...overlapsIn('Job', jobs), ...overlapsIn('pod', pods)];
  const made = new Map<string, number>();
  for (const { verb, objectRef, responseStatus } of audit) {
    if (verb !== 'create' || objectRef?.resource !== 'jobs' || responseStatus?.code !== 201) continue;
    const name = `${objectRef.namespace}/${objectRef.name}`;
    made.set(name, (made.get(name) ?? 0) + 1);
  }
  const again = [...made].filter(([, times]) => times > 1);
  return [
    ...overlaps.map((what) => ({
      invariant: 'no node has the same work twice',
      what,
      object: what.split(' ')[1] ?? '',
    })),
    ...again.map(([name, times]) => ({
      invariant: 'no node has the same work twice',
      what: `Job ${name} was made ${times} times`,
      object: name.split('/')[1] ?? '',
    })),
  ];
}

const ENDED = ['Warm', 'PartiallyFailed', 'Failed', 'Cancelled'];

export function unendedTasks(tasks: PrewarmTask[]): Violation[] {
  return tasks
    .filter(({ status }) => !ENDED.includes(status?.phase ?? '') || status?.batches?.length)
    .map(({ metadata: { name = '' }, status }) => ({
      invariant: 'every task ends',
      what: `task ${name} is ${status?.phase}, ${status?.progress}: ${status?.message ?? 'no message'}`,
      object: name,
    }));
}

/** What a workload was last told to be. */
export type Wish = {
  name: string;
  optedIn: boolean;
  /** Of its nodes. */
  pool: string;
  image: string;
  /** No registry has it. */
  missing: boolean;
};

export type Seen = {
  deployments: KubernetesObject[];
  tasks: PrewarmTask[];
  /** How many nodes a pool has. */
  nodes: ReadonlyMap<string, number>;
};

/** Every opted-in workload ends warm or says why not, and nothing is told of one that opted out. */
export function unkeptWishes(wishes: Iterable<Wish>, seen: Seen): Violation[] {
  return [...wishes].flatMap((wish) => {
    const problem = unkept(wish, seen);
    if (!problem) return [];
    const invariant = 'every opted-in workload ends warm or says why not';
    return [{ invariant, what: `${wish.name}: ${problem}`, object: wish.name }];
  });
}

function unkept(wish: Wish, { deployments, tasks, nodes }: Seen): string | undefined {
  const deployment = deployments.find(({ metadata }) => metadata.name === wish.name);
  if (!deployment) return 'it is not there';
  const { annotations = {}, labels = {} } = deployment.metadata;
  const { [OUTPUT.status]: status, [OUTPUT.message]: message, [OUTPUT.task]: name } = annotations;
  if (!wish.optedIn) {
    if (labels[PREWARM]) return 'opted out, and has the label still';
    return status ? `opted out, and told ${status} still` : undefined;
  }
  if (!labels[PREWARM]) return 'it has no label';
  const task = tasks.find(({ metadata }) => metadata.name === name);
  if (!task) return `its task ${name} is not there`;
  if (!task.spec.images.some(({ image }) => image === wish.image))
    return `its task ${name} is of other images`;
  if (wish.missing)
    return message?.includes(wish.image) ? undefined : `${status}, and does not say why: ${message}`;
  const count = nodes.get(wish.pool);
  return status === `Warm ${count}/${count} nodes`
    ? undefined
    : `${status} (${message}), not warm on its ${count} nodes`;
}

/** No token, Job, pod or lock is left behind; by kind, the names of what is still there. */
export function leftBehind(found: Record<string, string[]>): Violation[] {
  return Object.entries(found)
    .filter(([, names]) => names.length > 0)
    .map(([kind, names]) => ({
      invariant: 'nothing is left behind',
      what: `${kind}: ${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`,
      object: names[0] ?? '',
    }));
}

/** A write of the load, or one beside it that no webhook sees: what the API server takes by itself at that moment. */
export type Write = {
  name: string;
  atMs: number;
  ms: number;
  /** What it failed with. */
  error?: string;
  /** Of an opted-in workload: whether the API server's answer has the label. */
  labelled?: boolean;
};

export type Window = { fromMs: number; toMs: number };

export type AdmissionHistory = {
  applies: Write[];
  /** Writes that no webhook sees. */
  controls: Write[];
  /** When the API server could not be reached, or was starting. */
  apiAway: Window[];
  /** When a replica, or the way to it, was hurt: then admission fails open. */
  webhookHurt: Window[];
};

/** The webhook's timeoutSeconds, after which the API server goes on without it. */
const MOST_MS = 2_000;
/** On a machine that has little time for the API server it is a while until it sees that the time is up. */
const LATE_MS = 500;
/** To and from a replica a call waits for a processor this much more often than a write that no webhook sees. */
const HOPS = 4;

/** No admission failed, and none missed its label while a replica could be reached on a machine that had time for it. */
export function failedAdmissions(history: AdmissionHistory): Violation[] {
  const { applies, controls, apiAway, webhookHurt } = history;
  const invariant = 'no admission fails';
  return applies.flatMap((apply) => {
    const during = (windows: Window[]) => windows.some((window) => overlap(apply, window));
    if (during(apiAway)) return [];
    const { name: object, error, labelled } = apply;
    if (error) return [{ invariant, what: `${object} failed: ${error}`, object }];
    if (labelled !== false || during(webhookHurt)) return [];
    if (HOPS * slowestNear(controls, apply) > MOST_MS) return [];
    const what = `${object} got no label, and nothing was between the API server and a replica`;
    return [{ invariant, what, object }];
  });
}

/**
 * No admission took over 2 s: of each write, the time that the API server itself says its webhooks took. What other
 * writes took then, which no webhook sees, is allowed for: so long the API server may have had no processor.
 */
export function slowAdmissions(audit: AuditEntry[], controls: Write[]): Violation[] {
  return audit.flatMap(({ userAgent, annotations, requestReceivedTimestamp = '', objectRef }) => {
    const ms = milliseconds(annotations?.['apiserver.latency.k8s.io/mutating-webhook']);
    if (userAgent !== LOAD_AGENT || ms <= MOST_MS + LATE_MS) return [];
    const atMs = Date.parse(requestReceivedTimestamp);
    const slowest = slowestNear(controls, { atMs, ms });
    if (ms <= MOST_MS + LATE_MS + HOPS * slowest) return [];
    const object = objectRef?.name ?? '';
    const what = `${object} took ${Math.round(ms)} ms, other writes then ${Math.round(slowest)} ms`;
    return [{ invariant: 'no admission takes over 2 s', what, object }];
  });
}

function slowestNear(controls: Write[], { atMs, ms }: Pick<Write, 'atMs' | 'ms'>): number {
  const near = { fromMs: atMs - 2_000, toMs: atMs + ms + 2_000 };
  return Math.max(0, ...controls.filter((each) => overlap(each, near)).map((each) => each.ms));
}

/** Of a duration as Go writes it, `1m2.5s` or `512.3ms`; 0 where there is none. */
function milliseconds(duration = ''): number {
  const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, µs: 1e-3, ns: 1e-6 };
  const parts = [...duration.matchAll(/([\d.]+)(h|ms|m|s|µs|ns)/g)];
  return parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (units[unit] ?? 0), 0);
}

function overlap({ atMs, ms }: Write, { fromMs, toMs }: Window): boolean {
  return atMs < toMs && fromMs < atMs + ms;
}
