import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { PLAN_SLICE_MS } from '../../src/controller/task-reconciler.ts';
import { createImageIndex, type ImageIndex } from '../../src/domain/image-index.ts';
import { createImageSizes, type ImageSizes } from '../../src/domain/image-sizes.ts';
import { atOnce, type InParts } from '../../src/domain/in-parts.ts';
import type { KubernetesNode } from '../../src/domain/kubernetes.ts';
import { createNodeIndex, type NodeIndex } from '../../src/domain/node-index.ts';
import { compileNodeMatcher, type NodeRequirements } from '../../src/domain/node-matching.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import { compileTaskChoice, taskNodesInParts } from '../../src/domain/task-nodes.ts';
import { taskProgressInParts } from '../../src/domain/task-progress.ts';
import { trimNode } from '../../src/domain/trim-node.ts';
import { createPace, inTurns } from '../../src/kube/pace.ts';
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
/** Of this thread's own processor time; `wall` is the longest as the clock has it. Of what lets others have their turn meanwhile, the longest part. */
export type Spread = { median: number; longest: number; wall: number };
/** In milliseconds; `held` is the longest without a turn of the event loop. */
type Took = { cpu: number; held: number; wall: number };

type Known = { nodes: NodeIndex; sizes: ImageSizes; images: ImageIndex };

const IMAGES = 5;
const LIMIT = { maxNodes: '25%' };
const STRATEGIES = { strategy: 'auto', workerImageLegacy: '' } as const;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

export async function costsOf(count: number, pods: BenchPod[], seed: number): Promise<Costs> {
  const before = heldMB();
  const nodes = trimmedNodes(count, seed);
  const nodesMB = heldMB() - before;
  const requirements = pods.map(requirementsOf);
  const sizes = createImageSizes();
  const known: Known = { nodes: createNodeIndex(), sizes, images: createImageIndex(sizes) };
  const puts = nodes.map((node) => timed(() => replace(known, undefined, node)));
  const fitting = requirements.map((each) => timed(() => known.nodes.fitting(each)));
  const [plans, limited]: [Took[], Took[]] = [[], []];
  for (const [place, each] of requirements.entries())
    plans.push(await timedInTurns(plan(known, each, place)));
  for (const [place, each] of requirements.entries())
    limited.push(await timedInTurns(plan(known, each, place, LIMIT)));
  const indexesMB = heldMB() - before - nodesMB;
  puts.push(...nodes.map((node) => timed(() => replace(known, node, { ...node }))));
  return {
    ...{ nodes: count, nodesMB, indexesMB },
    putMicros: spreadOf(puts, 1000),
    fittingMillis: spreadOf(fitting),
    planMillis: spreadOf(plans),
    limitedMillis: spreadOf(limited),
    planKB: madeBy(() => atOnce(plan(known, {}, 0))) / 1024,
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
function* plan(
  { nodes, sizes, images }: Known,
  requirements: NodeRequirements,
  place: number,
  limit = {},
): InParts<unknown> {
  const spec = { images: imagesOf(place), nodeRequirements: requirements, ...limit };
  const task: PrewarmTask = { metadata: { name: 'task', uid: 'uid' }, spec };
  const { presence, listed } = images;
  const found = yield* taskNodesInParts({
    ...{
      task,
      nodes: nodes.all(),
      fits: compileNodeMatcher(requirements),
      known: { fitting: nodes.fitting(requirements), unwell: nodes.unwell() },
    },
    ...{ choice: () => compileTaskChoice(spec, undefined), sizes, presence, listed },
    strategies: STRATEGIES,
  });
  yield;
  return yield* taskProgressInParts({
    ...{ task, ...found, known: nodes.keys(), presence },
    ...{ outcomes: new Map(), nowMs: 0 },
  });
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
  const cpu = (threadMicros() - before) / 1000;
  return { cpu, held: cpu, wall };
}

/** As the controller does it, with its pace. */
async function timedInTurns(work: InParts<unknown>): Promise<Took> {
  const took: Took = { cpu: 0, held: 0, wall: 0 };
  const pace = createPace(PLAN_SLICE_MS);
  let turns = 0;
  let [turn, current] = [-1, { held: 0, wall: 0 }];
  const parts: Iterator<undefined, unknown> = {
    next() {
      if (turn !== turns) [turn, current] = [turns, { held: 0, wall: 0 }];
      let step: IteratorResult<undefined, unknown> = { value: undefined };
      const { cpu, wall } = timed(() => {
        step = work.next();
      });
      took.cpu += cpu;
      current.held += cpu;
      current.wall += wall;
      took.held = Math.max(took.held, current.held);
      took.wall = Math.max(took.wall, current.wall);
      return step;
    },
  };
  const count = () => {
    turns += 1;
    next = setImmediate(count);
  };
  let next = setImmediate(count);
  await inTurns(parts, pace);
  clearImmediate(next);
  return took;
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

/** @param units in a millisecond */
function spreadOf(took: Took[], units = 1): Spread {
  const sorted = took.map(({ cpu }) => cpu * units).sort((a, b) => a - b);
  const most = (of: (each: Took) => number) => units * took.reduce((max, each) => Math.max(max, of(each)), 0);
  return {
    ...{ median: sorted[sorted.length >> 1] ?? Number.NaN, longest: most(({ held }) => held) },
    wall: most(({ wall }) => wall),
  };
}
