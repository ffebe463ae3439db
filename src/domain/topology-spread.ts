/**
 * kube-scheduler's plugin PodTopologySpread (v1.36), for nodes that are taken one after another as if each got one pod.
 * Pods that run already are not seen, and count as none.
 */

import type { KubernetesNode, TopologySpreadConstraint } from './kubernetes.ts';
import { factsOf, HOSTNAME_LABEL as HOSTNAME, type NodeFacts, ZONE_LABEL } from './node-facts.ts';

/** Of a constraint that counts the workload's own pods, what says where they may go. */
export type SpreadConstraint = Omit<TopologySpreadConstraint, 'labelSelector' | 'matchLabelKeys'>;

/** Nodes with the same values of every topology key: to this plugin, they are the same. */
export type Place = {
  /** By constraint; undefined where the node has no such label. */
  values: (string | undefined)[];
  /** By how much one more pod here would pass what `DoNotSchedule` allows. */
  excess: number;
  /** 0 to 100: how much `ScheduleAnyway` wants the next pod here. */
  score: number;
  /** How many candidates are here. */
  nodes: number;
};

export type Spread = {
  /** Of each candidate, in their order. */
  places: Place[];
  /** Writes how each place stands now; scores compare those that have as little excess as the best of `open`. */
  rate(open: { place: Place }[]): void;
  /** One node of this place was taken. */
  take(place: Place): void;
};

export type SpreadOptions = {
  constraints: SpreadConstraint[];
  /** Where constraints are the pod's own, a node without one of their labels counts for none of them. */
  everyKey: boolean;
  /** Whether a node, with a candidate or without, is a domain of this constraint. */
  isDomain: (constraint: SpreadConstraint, node: KubernetesNode) => boolean;
  candidates: NodeFacts[];
  all: readonly KubernetesNode[];
};

const MAX_SCORE = 100;
/** The scheduler refuses a node without the label of a `DoNotSchedule`; here it comes last. */
const NO_DOMAIN = 1e9;

/** A constraint with the nodes taken so far by domain. Each host is taken once: there is nothing to count. */
type Counter = SpreadConstraint & { index: number; counts: Map<string, number>; weight: number };

export function openSpread(options: SpreadOptions): Spread {
  const { constraints, candidates, everyKey } = options;
  const { places, distinct } = placesOf(candidates, constraints);
  const counters: Counter[] = constraints.map((each, index) => ({
    ...each,
    ...{ index, counts: new Map<string, number>(), weight: 0 },
  }));
  const hard = counters.filter(({ whenUnsatisfiable }) => whenUnsatisfiable === 'DoNotSchedule');
  const soft = counters.filter(({ whenUnsatisfiable }) => whenUnsatisfiable === 'ScheduleAnyway');
  for (const counter of hard) countDomains(counter, hard, options);
  const scored = distinct.filter((place) => !everyKey || hasAll(place, soft));
  for (const counter of soft) counter.weight = Math.log(sizeOf(counter, scored) + 2);
  const counted = new Set(scored);

  return {
    places,
    rate(open) {
      const least = hard.map(leastOf);
      for (const place of distinct) place.excess = excessOf(place, hard, least);
      let lowest = Number.POSITIVE_INFINITY;
      for (const { place } of open) lowest = Math.min(lowest, place.excess);
      if (soft.length > 0) scorePlaces(scored, soft, lowest);
    },
    take(place) {
      if (hasAll(place, hard)) for (const counter of hard) addTo(counter, place);
      if (counted.has(place)) for (const counter of soft) addTo(counter, place);
    },
  };
}

/** Nodes with the same values of the topology keys so far. */
type Branch = { values: Place['values']; next: Map<string | undefined, Branch>; place?: Place };

function placesOf(candidates: NodeFacts[], constraints: SpreadConstraint[]) {
  const root: Branch = { values: [], next: new Map() };
  const distinct: Place[] = [];
  const places = candidates.map((facts) => {
    let branch = root;
    for (const { topologyKey } of constraints) branch = follow(branch, domainOf(facts, topologyKey));
    const { place } = branch;
    if (place) {
      place.nodes += 1;
      return place;
    }
    branch.place = { values: branch.values, excess: 0, score: 0, nodes: 1 };
    distinct.push(branch.place);
    return branch.place;
  });
  return { places, distinct };
}

function follow({ values, next }: Branch, value: string | undefined): Branch {
  const known = next.get(value);
  if (known) return known;
  const branch: Branch = { values: [...values, value], next: new Map() };
  next.set(value, branch);
  return branch;
}

function hasAll({ values }: Place, counters: Counter[]): boolean {
  return counters.every(({ index }) => values[index] !== undefined);
}

/** `topologyNormalizingWeight` is of this number. */
function sizeOf({ topologyKey, index }: Counter, scored: Place[]): number {
  if (topologyKey === HOSTNAME) return scored.reduce((sum, { nodes }) => sum + nodes, 0);
  return new Set(scored.map(({ values }) => values[index])).size;
}

/** `Score` and `NormalizeScore` of the plugin; a place without a label that is asked for keeps its 0. */
function scorePlaces(scored: Place[], soft: Counter[], lowest: number): void {
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (const place of scored) {
    if (place.excess > lowest) continue;
    let sum = 0;
    for (const counter of soft) sum += pressure(counter, place.values[counter.index]);
    place.score = Math.round(sum);
    least = Math.min(least, place.score);
    most = Math.max(most, place.score);
  }
  for (const place of scored) {
    if (place.excess > lowest) continue;
    place.score = most === 0 ? MAX_SCORE : Math.trunc((MAX_SCORE * (most + least - place.score)) / most);
  }
}

/** Any host is like another. */
function domainOf({ labels, zone, hasHostname }: NodeFacts, key: string): string | undefined {
  if (key === HOSTNAME) return hasHostname ? '' : undefined;
  if (key === ZONE_LABEL) return zone;
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

/** Of which domains the emptiest decides; `calPreFilterState` of the plugin. */
function countDomains(counter: Counter, hard: Counter[], { all, isDomain }: SpreadOptions): void {
  for (const node of all) {
    const facts = factsOf(node);
    const value = domainOf(facts, counter.topologyKey);
    if (value === undefined || counter.counts.has(value)) continue;
    const complete = hard.every(({ topologyKey }) => domainOf(facts, topologyKey) !== undefined);
    if (complete && isDomain(counter, node)) counter.counts.set(value, 0);
  }
}

function leastOf({ counts, minDomains = 1 }: Counter): number {
  if (counts.size < minDomains) return 0;
  let least = Number.POSITIVE_INFINITY;
  for (const count of counts.values()) least = Math.min(least, count);
  return least === Number.POSITIVE_INFINITY ? 0 : least;
}

function excessOf({ values }: Place, hard: Counter[], least: number[]): number {
  let excess = 0;
  for (const [at, { index, counts, maxSkew, topologyKey }] of hard.entries()) {
    const value = values[index];
    if (value === undefined) return NO_DOMAIN;
    if (topologyKey === HOSTNAME) continue;
    excess += Math.max(0, (counts.get(value) ?? 0) + 1 - (least[at] ?? 0) - maxSkew);
  }
  return excess;
}

/** `scoreForCount` of the plugin. */
function pressure({ counts, weight, maxSkew, topologyKey }: Counter, value: string | undefined): number {
  if (value === undefined) return 0;
  return (topologyKey === HOSTNAME ? 0 : (counts.get(value) ?? 0)) * weight + maxSkew - 1;
}

function addTo({ counts, index, topologyKey }: Counter, { values }: Place): void {
  const value = values[index];
  if (value !== undefined && topologyKey !== HOSTNAME) counts.set(value, (counts.get(value) ?? 0) + 1);
}
