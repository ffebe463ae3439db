import { PREWARM } from '../domain/annotations.ts';
import { taskName } from '../domain/fingerprint.ts';
import { firstRound } from '../domain/first-round.ts';
import type { ImageSizes } from '../domain/image-sizes.ts';
import type { KubernetesNode, KubernetesObject, RuntimeClass } from '../domain/kubernetes.ts';
import { type PullStrategy, pullStrategy, strategyOf } from '../domain/node-strategy.ts';
import { type Eligibility, presenceBy } from '../domain/node-view.ts';
import type { PrewarmTask, TaskImage } from '../domain/prewarm-task.ts';
import { compileRuntimeMatcher } from '../domain/runtime-class.ts';
import { compileTaskChoice, taskNodes } from '../domain/task-nodes.ts';
import { newTask, taskSpec } from '../domain/task-spec.ts';
import { warmerJob } from '../domain/warmer-job.ts';
import { type PrewarmPlan, planOf, type Workload, wantsPrewarm } from '../domain/workload.ts';
import { isAssumed } from './plan-input.ts';
import type { PlanSettings } from './plan-options.ts';

export type Surroundings = {
  nodes: KubernetesNode[];
  runtimeClasses: ReadonlyMap<string, RuntimeClass>;
  /** Of the images on those nodes. */
  sizes: ImageSizes;
  settings: PlanSettings;
};

export type Targets = {
  plan: PrewarmPlan;
  /** In the order of the input, unless a limit orders them. */
  nodes: KubernetesNode[];
  skipped: { node: string; reason: string }[];
  warnings: string[];
  eligibility: Eligibility;
};

export type PlannedWorkload = {
  apiVersion: string;
  kind: string;
  namespace: string;
  name: string;
  /** Whether IPS would do this now; else `because` says why it would not. */
  prewarmed: boolean;
  because?: string;
  task: string;
  images: TaskImage[];
  nodes: PlannedNode[];
  skipped: { node: string; reason: string }[];
  batches: { batch: number; strategy: PullStrategy; nodes: string[]; images: string[] }[];
  jobs: object[];
  warnings: string[];
};

export type PlannedNode = {
  name: string;
  strategy: PullStrategy;
  /** The node does not say what it runs, so that this is a guess. */
  strategyAssumed: boolean;
  /** Why not by image volumes, where that is not the setting. */
  strategyReason?: string;
  /** The batch that warms it; without one it has the images, as far as its status proves. */
  batch?: number;
};

/** Stand where only the API server knows: the name of a Job is made from the UID of its task. */
export const UNKNOWN_UID = '<uid of the task>';
export const jobNameOf = (batch: number) => `ips-<made from the task's uid, batch ${batch}>`;

const MAX_NAMED = 3;

/** Which images go to which nodes, whether or not the workload opted in. */
export function targetsOf(
  workload: Workload,
  { nodes, runtimeClasses, sizes, settings }: Surroundings,
): Targets {
  const plan = planOf(workload);
  const { runtimeClassName: name } = plan.pull;
  const runtimeClass = name === undefined ? undefined : runtimeClasses.get(name);
  const fits = compileRuntimeMatcher(plan.requirements, name, runtimeClass);
  const spec = taskSpec([plan]);
  const eligibility = taskNodes({
    ...{ task: { spec }, nodes, fits, sizes, strategies: settings },
    choice: () => compileTaskChoice(spec, runtimeClass),
  });
  const { eligible, skipped: reasons, beyondLimit = '' } = eligibility;
  const chosen = new Set(eligible);
  const skipped = nodes.flatMap((node) =>
    chosen.has(node) ? [] : { node: nameOf(node), reason: reasons.get(nameOf(node)) ?? beyondLimit },
  );
  const warnings = [...plan.warnings, ...needsLegacy(eligible, settings)];
  if (name !== undefined && !runtimeClass)
    warnings.push(
      `RuntimeClass ${name} is not among the objects that were given: add it to say which nodes fit`,
    );
  return {
    ...{ plan, skipped, warnings, eligibility },
    nodes: plan.settings.maxNodes ? eligible : nodes.filter((node) => chosen.has(node)),
  };
}

/** All that IPS would do for a workload, up to the Jobs. */
export function planWorkload(workload: Workload, surroundings: Surroundings): PlannedWorkload {
  const { settings, sizes } = surroundings;
  const { plan, nodes, skipped, warnings, eligibility } = targetsOf(workload, surroundings);
  const { namespace = '', name = '(without a name)' } = workload.metadata;
  const task = withUid(newTask(namespace, taskSpec([plan]), []));
  const { batches, cold } = firstRound(task, eligibility, {
    strategies: settings,
    presence: presenceBy(sizes),
    maxConcurrentPulls: settings.maxConcurrentPulls,
    nameOf: jobNameOf,
  });
  const batchOf = new Map(batches.flatMap(({ batch, nodes: names }) => names.map((each) => [each, batch])));
  const because = whyNot(workload, plan, settings);
  return {
    ...{ apiVersion: workload.apiVersion, kind: workload.kind, namespace },
    name,
    prewarmed: because === undefined,
    ...(because === undefined ? {} : { because }),
    task: taskName(plan.fingerprint),
    images: plan.images,
    nodes: nodes.map((node) => ({
      name: nameOf(node),
      strategy: strategyOf(node, settings),
      strategyAssumed: isAssumed(node),
      ...whyNoVolumes(node, settings),
      ...(cold.has(nameOf(node)) ? { batch: batchOf.get(nameOf(node)) ?? 0 } : {}),
    })),
    skipped,
    batches: batches.map(({ batch, strategy = 'image-volume', nodes: names, images }) => ({
      ...{ batch, strategy, nodes: names },
      images: images.flatMap((index) => plan.images[index]?.image ?? []),
    })),
    jobs: batches.map((batch) => warmerJob(task, batch, settings)),
    warnings,
  };
}

function whyNoVolumes(node: KubernetesNode, settings: PlanSettings): { strategyReason?: string } {
  const wanted = pullStrategy(node, { ...settings, strategy: 'image-volume' });
  return wanted.strategy || settings.strategy !== 'auto' ? {} : { strategyReason: wanted.reason };
}

function withUid(task: PrewarmTask): PrewarmTask {
  return { ...task, metadata: { ...task.metadata, uid: UNKNOWN_UID } };
}

function nameOf({ metadata }: KubernetesObject): string {
  return metadata.name ?? '';
}

/** Why IPS would leave the workload alone as it stands; undefined where it would not. */
function whyNot(workload: Workload, plan: PrewarmPlan, settings: PlanSettings): string | undefined {
  const { namespace = '', deletionTimestamp } = workload.metadata;
  if (settings.excludedNamespaces.includes(namespace))
    return `namespace ${namespace} is left alone (EXCLUDED_NAMESPACES)`;
  if (workload.controlled) return 'it belongs to another workload, which counts in its place';
  if (deletionTimestamp) return 'it is being deleted';
  if (workload.finished) return 'it has ended';
  if (!wantsPrewarm(workload)) return `not opted in: it has no annotation ${PREWARM}: "true"`;
  return plan.images.length === 0 ? 'no image to warm' : undefined;
}

function needsLegacy(eligible: KubernetesNode[], settings: PlanSettings): string[] {
  if (!settings.legacyAssumed) return [];
  const nodes = eligible.filter((node) => strategyOf(node, settings) === 'injected-noop');
  const [first] = nodes;
  if (!first) return [];
  const legacy = nodes.map(nameOf);
  const names = `${legacy.slice(0, MAX_NAMED).join(', ')}${legacy.length > MAX_NAMED ? ', …' : ''}`;
  const are = legacy.length === 1 ? 'node is' : 'nodes are';
  const because = pullStrategy(first, { ...settings, strategy: 'image-volume' });
  const why = because.strategy ? '' : `; ${nameOf(first)}: ${because.reason}`;
  return [
    `${legacy.length} ${are} warmed by the no-op (${names}), which needs WORKER_IMAGE_LEGACY; that it is set is assumed here${why}`,
  ];
}
