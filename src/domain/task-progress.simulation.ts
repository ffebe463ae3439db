import { expect } from 'vitest';
import type { NodeOutcome } from './batch-outcome.ts';
import type { ImageFailure } from './container-status.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { nodeKey } from './node-set.ts';
import type { PullStrategy } from './node-strategy.ts';
import type {
  OpenBatch,
  PrewarmTask,
  PrewarmTaskSpec,
  PrewarmTaskStatus,
  TaskImage,
} from './prewarm-task.ts';
import { type PresenceOf, type Progress, planBatch, taskProgress } from './task-progress.ts';

/**
 * For tests: one task over many steps, with nodes on paper. After each step the status goes through JSON, as through a
 * restart, and the same evidence is given a second time, which must change nothing.
 */
export type Simulation = {
  nowMs(): number;
  has(node: string): boolean;
  status(): PrewarmTaskStatus;
  /** As `planBatch` left it. */
  planned(): PrewarmTaskStatus;
  /** One reconcile without a batch. */
  look(): Progress;
  /** One reconcile that cuts a batch of at most `count` cold nodes. */
  cut(count?: number): OpenBatch;
  /** The warmer on a node ends: it brought the batch's images, but for those that failed. */
  end(node: string, ...failures: ImageFailure[]): void;
  /** Cuts one batch of all cold nodes, ends it, and looks. Each failure counts on each node. */
  warmUp(...failures: ImageFailure[]): Progress;
  pass(seconds: number): void;
  join(node: string, ...images: string[]): void;
  leave(node: string): void;
  cordon(node: string, cordoned?: boolean): void;
  /** The kubelet reports which images it has: those it pulled in this simulation, or these. */
  report(node: string, ...images: string[]): void;
  /** An image is removed from a node, as the kubelet reports at its next report. */
  collect(node: string, image: string): void;
  /** The node's list says nothing about what is not in it. */
  cutList(node: string): void;
};

type Machine = {
  uid: string;
  disk: Set<string>;
  /** What it listed before, and no more. */
  lost: Set<string>;
  cordoned: boolean;
  object: KubernetesNode;
};

export const START = '2026-01-01T00:00:00.000Z';

export function timeAfter(seconds: number): string {
  return new Date(Date.parse(START) + seconds * 1000).toISOString();
}

export function hopeless(image: string): ImageFailure {
  return { image, reason: 'not found', message: `${image}: not found`, hopeless: true };
}

export function transient(image: string): ImageFailure {
  return { image, reason: 'registry unreachable', message: 'i/o timeout', hopeless: false };
}

const presence: PresenceOf = (node, image) => {
  const lists = node.status?.images;
  if (!lists) return 'unknown';
  return lists.some(({ names }) => names?.includes(image)) ? 'present' : 'absent';
};

/** Nodes of an older kubelet are called so. */
const strategyOf = (node: KubernetesNode): PullStrategy =>
  node.metadata.name?.startsWith('old') ? 'injected-noop' : 'image-volume';

export function simulateTask(
  options: Partial<Omit<PrewarmTaskSpec, 'images'>> & { images: (string | TaskImage)[]; nodes: string[] },
): Simulation {
  const { images, nodes, ...rest } = options;
  const spec: PrewarmTaskSpec = {
    ...rest,
    images: images.map((each) =>
      typeof each === 'string' ? { image: each, pullPolicy: 'IfNotPresent' } : each,
    ),
  };
  const machines = new Map<string, Machine>();
  const ended = new Map<string, NodeOutcome>();
  let nowMs = Date.parse(START);
  let uids = 0;
  let status: PrewarmTaskStatus = {};
  let lastPlanned: PrewarmTaskStatus = {};

  function machine(name: string): Machine {
    const found = machines.get(name);
    if (!found) throw new Error(`no node ${name}`);
    return found;
  }

  function describeNode(name: string, uid: string, listed: string[] | undefined): KubernetesNode {
    const now = new Date(nowMs).toISOString();
    return {
      metadata: { name, uid, creationTimestamp: now },
      status: {
        conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: now }],
        ...(listed ? { images: listed.map((image) => ({ names: [image] })) } : {}),
      },
    };
  }

  function input() {
    const eligible = [...machines.values()].filter((each) => !each.cordoned).map((each) => each.object);
    const metadata = { name: 't', uid: 'task-uid', generation: 1, creationTimestamp: START };
    const task: PrewarmTask = { metadata, spec, status };
    const outcomes = (status.batches ?? []).map((batch): [string, NodeOutcome[]] => [
      batch.jobName,
      batch.nodes.map((node) => ended.get(`${batch.jobName}/${node}`) ?? { state: 'running' }),
    ]);
    const nothingEligible = eligible.length === 0 ? 'no node is eligible' : undefined;
    const known = new Set([...machines.values()].map((each) => nodeKey(each.object)));
    const lost = ({ metadata: { name = '' } }: KubernetesNode, image: string) =>
      machines.get(name)?.lost.has(image) ?? false;
    return { task, eligible, known, nothingEligible, presence, lost, outcomes: new Map(outcomes), nowMs };
  }

  function settle(progress: Progress): void {
    status = JSON.parse(JSON.stringify(progress.status));
    const again = taskProgress(input());
    expect(again.status, 'the same evidence a second time changes the status').toEqual(status);
    expect(again.closed).toEqual([]);
    expect(again.running).toBe(status.nodes?.warming);
  }

  function look(): Progress {
    const progress = taskProgress(input());
    settle(progress);
    expect(taskProgress(input()).cold).toEqual(progress.cold);
    return progress;
  }

  function cut(count = 50): OpenBatch {
    const { task } = input();
    const progress = taskProgress(input());
    const nameOf = (round: number, batch: number, attempt: number) => `job-${round}-${batch}-${attempt}`;
    const allowed = Math.min(count, progress.atMost);
    const batch = planBatch(task, progress, { count: allowed, strategyOf, presence, nowMs, nameOf });
    lastPlanned = structuredClone(progress.status);
    if (!progress.status.message) delete progress.status.message;
    settle(progress);
    return batch;
  }

  function end(name: string, ...failures: ImageFailure[]): void {
    const batch = status.batches?.findLast((each) => each.nodes.includes(name));
    if (!batch) throw new Error(`node ${name} is in no open batch`);
    const warm = batch.images.filter(
      (index) => !failures.some(({ image }) => image === spec.images[index]?.image),
    );
    for (const index of warm) machines.get(name)?.disk.add(spec.images[index]?.image ?? '');
    const own = failures.filter(({ image }) =>
      batch.images.some((index) => spec.images[index]?.image === image),
    );
    ended.set(`${batch.jobName}/${name}`, { state: 'ended', warm, failures: own });
  }

  function replaceObject(name: string, listed: string[] | undefined): void {
    const { uid, object, lost } = machine(name);
    for (const image of object.status?.images?.flatMap(({ names = [] }) => names) ?? []) lost.add(image);
    for (const image of listed ?? []) lost.delete(image);
    machine(name).object = describeNode(name, uid, listed);
  }

  function join(name: string, ...listed: string[]): void {
    const uid = `uid-${uids++}`;
    const object = describeNode(name, uid, listed);
    machines.set(name, { uid, disk: new Set(listed), lost: new Set(), cordoned: false, object });
  }

  for (const node of nodes) join(node);
  return {
    nowMs: () => nowMs,
    has: (name) => machines.has(name),
    status: () => status,
    planned: () => lastPlanned,
    look,
    cut,
    end,
    warmUp(...failures) {
      for (const node of cut().nodes) end(node, ...failures);
      return look();
    },
    pass(seconds) {
      nowMs += seconds * 1000;
    },
    join,
    leave: (name) => void machines.delete(name),
    cordon(name, cordoned = true) {
      machine(name).cordoned = cordoned;
    },
    report(name, ...images) {
      if (images.length > 0) machine(name).disk = new Set(images);
      replaceObject(name, [...machine(name).disk]);
    },
    collect: (name, image) => void machine(name).disk.delete(image),
    cutList: (name) => replaceObject(name, undefined),
  };
}
