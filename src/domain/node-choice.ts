/**
 * Which nodes come first under a limit: those that kube-scheduler (v1.36, default configuration) would likely give to
 * pods of the workload, one pod after another. Its score plugins, with their weights and their rounding, as far as they
 * can be told from nodes alone. docs/nodes.md tells users of it, and of what is left out.
 */

import { type InParts, mapInParts } from './in-parts.ts';
import type { KubernetesNode, PreferredSchedulingTerm, Toleration } from './kubernetes.ts';
import { factsOf, HOSTNAME_LABEL, type NodeFacts, ZONE_LABEL } from './node-facts.ts';
import { compileNodeMatcher, type NodeMatcher, toleratedByAny } from './node-matching.ts';
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
  /** By name. */
  candidates: KubernetesNode[];
  /** All nodes there are: a zone without a candidate is a zone all the same. */
  all: readonly KubernetesNode[];
  /** Of each of these nodes, how many of the images it has already, or is getting. */
  held: (nodes: KubernetesNode[]) => number[];
};

/** Gives the first `count` candidates, the best first. The order is one and the same for every count. */
export type NodeChoice = (from: Candidates, count: number) => InParts<KubernetesNode[]>;

/** pkg/scheduler/apis/config/v1/default_plugins.go */
const WEIGHT = { taintToleration: 3, nodeAffinity: 2, podTopologySpread: 2, nodeResourcesFit: 1 };
const MAX_SCORE = 100;

/** PodTopologySpread, `systemDefaultConstraints`. */
const DEFAULT_SPREAD: SpreadConstraint[] = [
  { topologyKey: HOSTNAME_LABEL, maxSkew: 3, whenUnsatisfiable: 'ScheduleAnyway' },
  { topologyKey: ZONE_LABEL, maxSkew: 5, whenUnsatisfiable: 'ScheduleAnyway' },
];

/**
 * Every node taken changes how all places stand. After so many ratings, which is after thousands of nodes in a few
 * zones, one node of each place is taken for each rating, lest thousands of racks hold up everything else.
 */
const EXACT_RATINGS = 20_000;
const RATINGS_AT_ONCE = 1_000;

/** What decides between candidates, of each by its index. */
type Figures = { scores: number[]; held: number[]; freeBytes: number[] };
/** The candidates of one place by their indexes, the best first; those before `next` are taken. */
type Group = { place: Place; indexes: number[]; next: number };

export function compileNodeChoice({ preferences = {}, tolerations, fitsAffinity }: ChoiceInput): NodeChoice {
  const preferred = compilePreferred(preferences.nodeAffinity ?? []);
  const unwanted = ({ preferNoSchedule }: NodeFacts) =>
    preferNoSchedule.length === 0
      ? 0
      : preferNoSchedule.filter((taint) => !toleratedByAny(taint, tolerations)).length;
  const isDomain = (constraint: SpreadConstraint, node: KubernetesNode) =>
    (constraint.nodeAffinityPolicy === 'Ignore' || fitsAffinity(node) === undefined) &&
    (constraint.nodeTaintsPolicy !== 'Honor' || toleratesAll(node, tolerations));
  const { topologySpreadConstraints: own } = preferences;

  return function* ({ candidates, all, held }, count) {
    const facts = candidates.map(factsOf);
    const affinity = normalize(candidates.map(preferred));
    const taints = normalize(facts.map(unwanted));
    yield;
    const constraints = own ?? DEFAULT_SPREAD;
    const spread = openSpread({ constraints, everyKey: own !== undefined, isDomain, candidates: facts, all });
    yield;
    const figures: Figures = {
      scores: facts.map(
        (each, index) =>
          WEIGHT.nodeAffinity * (affinity[index] ?? 0) +
          WEIGHT.taintToleration * (MAX_SCORE - (taints[index] ?? 0)) +
          WEIGHT.nodeResourcesFit * each.resourcesScore,
      ),
      held: yield* mapInParts(candidates, held),
      freeBytes: facts.map((each) => each.freeBytes),
    };
    yield;
    const taken = yield* take(figures, spread, count);
    return taken.map((index) => candidates[index] as KubernetesNode);
  };
}

function* take(figures: Figures, spread: Spread, count: number): InParts<number[]> {
  let open = groupsOf(figures, spread.places);
  const taken: number[] = [];
  const compare = (a: Group, b: Group) => compareGroups(figures, a, b);
  const better = (a: Group, b: Group) => (compare(a, b) <= 0 ? a : b);
  let ratedAtOnce = 0;
  for (let ratings = 0; open.length > 0 && taken.length < count; ratings += open.length) {
    ratedAtOnce += open.length;
    if (ratedAtOnce > RATINGS_AT_ONCE) {
      yield;
      ratedAtOnce = 0;
    }
    spread.rate(open);
    const turn = ratings < EXACT_RATINGS ? [open.reduce(better)] : open.toSorted(compare);
    for (const group of turn) {
      taken.push(headOf(group));
      spread.take(group.place);
      group.next += 1;
    }
    if (turn.some(isUsedUp)) open = open.filter((group) => !isUsedUp(group));
  }
  return taken.slice(0, count);
}

function groupsOf(figures: Figures, places: Place[]): Group[] {
  const groups = new Map<Place, Group>();
  for (const index of bestFirst(figures)) {
    const place = places[index] as Place;
    const group = groups.get(place);
    if (group) group.indexes.push(index);
    else groups.set(place, { place, indexes: [index], next: 0 });
  }
  return [...groups.values()];
}

/**
 * All candidates, as they would be taken if their place did not matter. To compare thousands one with another takes as
 * long as all the rest: what decides is put into one number for each, and numbers are sorted at once.
 */
function bestFirst({ scores, held, freeBytes }: Figures): number[] {
  const count = scores.length;
  const [best, most] = [highest(scores), highest(held)];
  const sorted = Float64Array.from(freeBytes).sort();
  const rankOfFree = new Map<number, number>();
  for (let place = 0; place < count; place += 1) rankOfFree.set(sorted[place] ?? 0, count - place);
  const keys = new Float64Array(count);
  for (let index = 0; index < count; index += 1) {
    const rank = rankOfFree.get(freeBytes[index] ?? 0) ?? 0;
    // Below 2^53 for 600 points, 100 images and 300,000 nodes.
    const likes = (best - (scores[index] ?? 0)) * (most + 1) + most - (held[index] ?? 0);
    keys[index] = (likes * (count + 1) + rank) * count + index;
  }
  return Array.from(keys.sort(), (key) => key % count);
}

function highest(numbers: number[]): number {
  return numbers.reduce((a, b) => Math.max(a, b), 0);
}

function headOf({ indexes, next }: Group): number {
  return indexes[next] as number;
}

function isUsedUp({ indexes, next }: Group): boolean {
  return next >= indexes.length;
}

function compareGroups({ scores, held, freeBytes }: Figures, a: Group, b: Group): number {
  const [first, second] = [headOf(a), headOf(b)];
  const of = (numbers: number[], index: number) => numbers[index] ?? 0;
  return (
    a.place.excess - b.place.excess ||
    of(scores, second) - of(scores, first) + WEIGHT.podTopologySpread * (b.place.score - a.place.score) ||
    // To the scheduler they are the same. A node that is warm is not given up for another that is no better; nor one
    // that has some of the images, lest an image that cannot be pulled brings the others to one node after another.
    of(held, second) - of(held, first) ||
    of(freeBytes, second) - of(freeBytes, first) ||
    first - second
  );
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
  const most = highest(counts);
  return most === 0 ? counts : counts.map((each) => Math.trunc((MAX_SCORE * each) / most));
}
