/**
 * Which nodes come first under a limit: those that kube-scheduler (v1.36, default configuration) would likely give to
 * pods of the workload, one pod after another. Its score plugins, with their weights and their rounding, as far as they
 * can be told from nodes alone. docs/nodes.md tells users of it, and of what is left out.
 */

import type { KubernetesNode, PreferredSchedulingTerm, Taint, Toleration } from './kubernetes.ts';
import { compileNodeMatcher, type NodeMatcher, toleratedByAny } from './node-matching.ts';
import { parseQuantity } from './quantity.ts';
import { openSpread, type Place, type Spread, type SpreadConstraint } from './topology-spread.ts';

/** What a workload would rather have of its nodes. */
export type NodePreferences = {
  /** `preferredDuringSchedulingIgnoredDuringExecution` of the pod's node affinity. */
  nodeAffinity?: PreferredSchedulingTerm[];
  /** Those that count the workload's own pods. Where it is absent, the scheduler's own two apply. */
  topologySpreadConstraints?: SpreadConstraint[];
};

export type ChoiceInput = {
  preferences: NodePreferences | undefined;
  /** Of the pod, with those that its RuntimeClass adds. */
  tolerations: Toleration[];
  /** Whether a node is what selector and required affinity ask for, whatever its taints. */
  fitsAffinity: NodeMatcher;
};

export type Candidates = {
  candidates: KubernetesNode[];
  /** All nodes there are: a zone without a candidate is a zone all the same. */
  all: readonly KubernetesNode[];
  /** How many of the images the node has already, or is getting. */
  held: (node: KubernetesNode) => number;
  /** What is free of the node's disk, as far as is known, in bytes. */
  freeBytes: (node: KubernetesNode) => number;
};

/** Gives the first `count` candidates, the best first. The order is one and the same for every count. */
export type NodeChoice = (from: Candidates, count: number) => KubernetesNode[];

/** pkg/scheduler/apis/config/v1/default_plugins.go */
const WEIGHT = { taintToleration: 3, nodeAffinity: 2, podTopologySpread: 2, nodeResourcesFit: 1 };
const MAX_SCORE = 100;

/** PodTopologySpread, `systemDefaultConstraints`. */
const DEFAULT_SPREAD: SpreadConstraint[] = [
  { topologyKey: 'kubernetes.io/hostname', maxSkew: 3, whenUnsatisfiable: 'ScheduleAnyway' },
  { topologyKey: 'topology.kubernetes.io/zone', maxSkew: 5, whenUnsatisfiable: 'ScheduleAnyway' },
];

/** What the scheduler assumes of a container that requests nothing (pkg/scheduler/util/pod_resources.go). */
const ASSUMED_REQUESTS = [
  ['cpu', 0.1],
  ['memory', 200 * 2 ** 20],
] as const;
const NO_TAINTS: Taint[] = [];

/**
 * Every node taken changes how all places stand. After so many ratings, which is after thousands of nodes in a few
 * zones, one node of each place is taken for each rating, lest thousands of racks hold up everything else.
 */
const EXACT_RATINGS = 20_000;

type Entry = {
  node: KubernetesNode;
  place: Place;
  /** By name. */
  index: number;
  score: number;
  held: number;
  freeBytes: number;
};
/** The entries of one place, the best first; those before `next` are taken. */
type Group = { place: Place; entries: Entry[]; next: number };

export function compileNodeChoice({ preferences = {}, tolerations, fitsAffinity }: ChoiceInput): NodeChoice {
  const preferred = compilePreferred(preferences.nodeAffinity ?? []);
  const unwanted = ({ spec }: KubernetesNode) => {
    let count = 0;
    for (const taint of spec?.taints ?? NO_TAINTS)
      if (taint.effect === 'PreferNoSchedule' && !toleratedByAny(taint, tolerations)) count += 1;
    return count;
  };
  const isDomain = (constraint: SpreadConstraint, node: KubernetesNode) =>
    (constraint.nodeAffinityPolicy === 'Ignore' || fitsAffinity(node) === undefined) &&
    (constraint.nodeTaintsPolicy !== 'Honor' || toleratesAll(node, tolerations));
  const { topologySpreadConstraints: own } = preferences;

  return ({ candidates: given, all, held, freeBytes }, count) => {
    const candidates = byName(given);
    const affinity = normalize(candidates.map(preferred));
    const taints = normalize(candidates.map(unwanted));
    const constraints = own ?? DEFAULT_SPREAD;
    const spread = openSpread({ constraints, everyKey: own !== undefined, isDomain, candidates, all });
    const entries = candidates.map((node, index) => ({
      node,
      place: spread.places[index] as Place,
      index,
      score:
        WEIGHT.nodeAffinity * (affinity[index] ?? 0) +
        WEIGHT.taintToleration * (MAX_SCORE - (taints[index] ?? 0)) +
        WEIGHT.nodeResourcesFit * resourcesScore(node),
      held: held(node),
      freeBytes: freeBytes(node),
    }));
    return take(entries, spread, count);
  };
}

function take(entries: Entry[], spread: Spread, count: number): KubernetesNode[] {
  let open = groupsOf(entries);
  const taken: KubernetesNode[] = [];
  for (let ratings = 0; open.length > 0 && taken.length < count; ratings += open.length) {
    spread.rate(open.map(({ place }) => place));
    const turn = ratings < EXACT_RATINGS ? [open.reduce(better)] : open.toSorted(compareGroups);
    for (const group of turn) {
      taken.push(headOf(group).node);
      spread.take(group.place);
      group.next += 1;
    }
    if (turn.some(isUsedUp)) open = open.filter((group) => !isUsedUp(group));
  }
  return taken.slice(0, count);
}

function groupsOf(entries: Entry[]): Group[] {
  const groups = new Map<Place, Group>();
  for (const entry of entries.toSorted(compareEntries)) {
    const group = groups.get(entry.place) ?? { place: entry.place, entries: [], next: 0 };
    group.entries.push(entry);
    groups.set(entry.place, group);
  }
  return [...groups.values()];
}

function headOf({ entries, next }: Group): Entry {
  return entries[next] as Entry;
}

function isUsedUp({ entries, next }: Group): boolean {
  return next >= entries.length;
}

function better(a: Group, b: Group): Group {
  return compareGroups(a, b) <= 0 ? a : b;
}

function compareGroups(a: Group, b: Group): number {
  const [first, second] = [headOf(a), headOf(b)];
  return (
    a.place.excess - b.place.excess ||
    second.score - first.score + WEIGHT.podTopologySpread * (b.place.score - a.place.score) ||
    compareTied(first, second)
  );
}

function compareEntries(a: Entry, b: Entry): number {
  return b.score - a.score || compareTied(a, b);
}

/**
 * To the scheduler they are the same. A node that is warm is not given up for another that is no better; nor one that
 * has some of the images, lest an image that cannot be pulled brings the others to one node after another.
 */
function compareTied(a: Entry, b: Entry): number {
  return b.held - a.held || b.freeBytes - a.freeBytes || a.index - b.index;
}

/** Mostly they come so: to look is a comparison for each, to compare names in a sort a dozen. */
function byName(nodes: KubernetesNode[]): KubernetesNode[] {
  const isSorted = nodes.every((node, index) => index === 0 || nameOf(nodes[index - 1]) <= nameOf(node));
  return isSorted ? nodes : nodes.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

function nameOf(node: KubernetesNode | undefined): string {
  return node?.metadata.name ?? '';
}

/** The weights of the terms that match, summed (plugin NodeAffinity). A malformed term matches nothing. */
function compilePreferred(terms: PreferredSchedulingTerm[]): (node: KubernetesNode) => number {
  const compiled = terms.map(({ weight, preference }) => ({
    weight,
    fits: compileNodeMatcher({
      nodeAffinity: { nodeSelectorTerms: [preference] },
      tolerations: [{ operator: 'Exists' }],
    }),
  }));
  return (node) =>
    compiled.reduce((sum, { weight, fits }) => (fits(node) === undefined ? sum + weight : sum), 0);
}

function toleratesAll({ spec }: KubernetesNode, tolerations: Toleration[]): boolean {
  return (spec?.taints ?? []).every(
    (taint) => taint.effect === 'PreferNoSchedule' || toleratedByAny(taint, tolerations),
  );
}

/** `DefaultNormalizeScore`: the most becomes 100, in whole numbers. */
function normalize(counts: number[]): number[] {
  const most = counts.reduce((a, b) => Math.max(a, b), 0);
  return most === 0 ? counts : counts.map((each) => Math.trunc((MAX_SCORE * each) / most));
}

const resourceScores = new WeakMap<KubernetesNode, number>();

/** Plugin NodeResourcesFit, `LeastAllocated`, of a node with nothing but one pod of the workload: large ones first. */
export function resourcesScore(node: KubernetesNode): number {
  const known = resourceScores.get(node);
  if (known !== undefined) return known;
  let [sum, told] = [0, 0];
  for (const [resource, requested] of ASSUMED_REQUESTS) {
    const there = parseQuantity(node.status?.allocatable?.[resource]) ?? 0;
    if (there <= 0) continue;
    sum += Math.trunc((MAX_SCORE * Math.max(0, there - requested)) / there);
    told += 1;
  }
  const score = told > 0 ? Math.trunc(sum / told) : 0;
  resourceScores.set(node, score);
  return score;
}
