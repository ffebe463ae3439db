import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createImageIndex, type ImageIndex } from '../../src/domain/image-index.ts';
import { createImageSizes, type ImageSizes } from '../../src/domain/image-sizes.ts';
import type { KubernetesNode } from '../../src/domain/kubernetes.ts';
import { createNodeIndex, type NodeIndex } from '../../src/domain/node-index.ts';
import { compileNodeMatcher, type NodeRequirements } from '../../src/domain/node-matching.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { compileTaskChoice, taskNodes } from '../../src/domain/task-nodes.ts';
import { taskProgress } from '../../src/domain/task-progress.ts';
import { trimNode } from '../../src/domain/trim-node.ts';
import { type BenchPod, makeNodes } from './input.ts';
import { requirementsOf } from './ways.ts';

/** What IPS itself pays for so many nodes: memory, and for how long each call keeps the event loop. */
export type Costs = {
  nodes: number;
  /** Of the nodes with their labels and lists of images, as the informer holds them. */
  nodesMB: number;
  /** Of what is kept to find them by, after every workload was planned. */
  indexesMB: number;
  /** Noting one node that is new, or that is told anew when all workloads have asked. */
  putMicros: Spread;
  /** Which nodes fit a workload, of 500 one after another, on an index that was never asked before. */
  fittingMillis: Spread;
  /** A workload's plan: which nodes fit, are well, can pull and have room, which of its 5 images each has, what is left. */
  planMillis: Spread;
  /** The same under `ips/max-nodes: 25%`, which asks which nodes come first. */
  limitedMillis: Spread;
  /** Made by one plan, for the collector. */
  planKB: number;
};
/** Of this thread's own processor time; `wall` is the longest as the clock has it. */
export type Spread = { median: number; longest: number; wall: number };
/** In milliseconds. */
type Took = { cpu: number; wall: number };

type Known = { nodes: NodeIndex; sizes: ImageSizes; images: ImageIndex };

const IMAGES = 5;
const LIMIT = { maxNodes: '25%' };
const STRATEGIES = { strategy: 'auto', workerImageLegacy: '' } as const;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

export function costsOf(count: number, pods: BenchPod[], seed: number): Costs {
  const before = heldMB();
  const nodes = trimmedNodes(count, seed);
  const nodesMB = heldMB() - before;
  const requirements = pods.map(requirementsOf);
  const sizes = createImageSizes();
  const known: Known = { nodes: createNodeIndex(), sizes, images: createImageIndex(sizes) };
  const puts = nodes.map((node) => timed(() => replace(known, undefined, node)));
  const fitting = requirements.map((each) => timed(() => known.nodes.fitting(each)));
  const plans = requirements.map((each, place) => timed(() => plan(known, each, place)));
  const limited = requirements.map((each, place) => timed(() => plan(known, each, place, LIMIT)));
  const indexesMB = heldMB() - before - nodesMB;
  puts.push(...nodes.map((node) => timed(() => replace(known, node, { ...node }))));
  return {
    ...{ nodes: count, nodesMB, indexesMB },
    putMicros: spreadOf(puts.map(({ cpu, wall }) => ({ cpu: cpu * 1000, wall: wall * 1000 }))),
    fittingMillis: spreadOf(fitting),
    planMillis: spreadOf(plans),
    limitedMillis: spreadOf(limited),
    planKB: madeBy(() => plan(known, {}, 0)) / 1024,
  };
}

/** In a call of its own: the nodes as they were made are nobody's when it has returned. */
function trimmedNodes(count: number, seed: number): KubernetesNode[] {
  return makeNodes(count, seed).map(trimNode);
}

/** As the controller's informer of nodes does it. */
function replace(known: Known, before: KubernetesNode | undefined, after: KubernetesNode): void {
  known.sizes.replace(before, after);
  known.images.replace(before, after);
  known.nodes.put(after);
}

/** What the controller does to know where a task stands. */
function plan(
  { nodes, sizes, images }: Known,
  requirements: NodeRequirements,
  place: number,
  limit = {},
): unknown {
  const spec = { images: imagesOf(place), nodeRequirements: requirements, ...limit };
  const task: PrewarmTask = { metadata: { name: 'task', uid: 'uid' }, spec };
  const { presence, listed } = images;
  const found = taskNodes({
    ...{
      task,
      nodes: nodes.all(),
      fits: compileNodeMatcher(requirements),
      known: { fitting: nodes.fitting(requirements), unwell: nodes.unwell() },
    },
    ...{ choice: () => compileTaskChoice(spec, undefined), sizes, presence, listed },
    strategies: STRATEGIES,
  });
  return taskProgress({ task, ...found, known: nodes.keys(), presence, outcomes: new Map(), nowMs: 0 });
}

/** Some of them are on many nodes, see input.ts, and some on none. */
function imagesOf(place: number): PrewarmTask['spec']['images'] {
  return Array.from({ length: IMAGES }, (_, number) => {
    const app = (place * IMAGES + number) % 250;
    return {
      image: `registry.example.com/team-${app % 20}/app-${app}:v1.${app}`,
      pullPolicy: 'IfNotPresent' as const,
    };
  });
}

/** The clock also counts what other programs had of the processor meanwhile, which no code of ours can shorten. */
function timed(call: () => unknown): Took {
  const before = threadMicros();
  const begun = performance.now();
  call();
  const wall = performance.now() - begun;
  return { cpu: (threadMicros() - before) / 1000, wall };
}

function threadMicros(): number {
  // Linux brings the thread's own count up to date when asked for the process's; else it is some ms old.
  process.cpuUsage();
  const { user, system } = process.threadCpuUsage();
  return user + system;
}

function heldMB(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 2 ** 20;
}

function madeBy(call: () => unknown): number {
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  call();
  return process.memoryUsage().heapUsed - before;
}

function spreadOf(took: Took[]): Spread {
  const sorted = took.map(({ cpu }) => cpu).sort((a, b) => a - b);
  return {
    ...{ median: sorted[sorted.length >> 1] ?? Number.NaN, longest: sorted.at(-1) ?? Number.NaN },
    wall: took.reduce((most, each) => Math.max(most, each.wall), 0),
  };
}
