import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { atOnce } from './in-parts.ts';
import type { KubernetesNode, Taint, Toleration } from './kubernetes.ts';
import { compileNodeChoice, type NodePreferences } from './node-choice.ts';
import { compileNodeMatcher, type NodeRequirements } from './node-matching.ts';
import type { SpreadConstraint } from './topology-spread.ts';

type Given = {
  labels?: Record<string, string>;
  prefersNot?: number;
  taints?: Taint[];
  cpu?: string;
  held?: number;
  free?: number;
};

function node(
  name: string,
  { labels, prefersNot = 0, taints = [], cpu = '8', free = 0 }: Given = {},
): KubernetesNode {
  const shunned = Array.from({ length: prefersNot }, (_, index) => ({
    ...{ key: `wish-${index}`, value: 'x', effect: 'PreferNoSchedule' },
  }));
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } },
    spec: { taints: [...shunned, ...taints] },
    status: { allocatable: { cpu, memory: '16Gi' }, capacity: { 'ephemeral-storage': `${free}Gi` } },
  };
}

type Asked = {
  preferences?: NodePreferences;
  tolerations?: Toleration[];
  requirements?: NodeRequirements;
  count?: number;
  /** Nodes that no pod may use now. */
  others?: KubernetesNode[];
};

function choose(given: Record<string, Given>, asked: Asked = {}): string[] {
  const { preferences, tolerations = [], requirements = {}, others = [] } = asked;
  const named = Object.entries(given).sort(([a], [b]) => (a < b ? -1 : 1));
  const entries = named.map(([name, each]) => ({ node: node(name, each), ...each }));
  const of = new Map(entries.map((entry) => [entry.node, entry]));
  const candidates = entries.map((entry) => entry.node);
  const fitsAffinity = compileNodeMatcher({ ...requirements, tolerations: [{ operator: 'Exists' }] });
  const order = compileNodeChoice({ preferences, tolerations, fitsAffinity });
  const work = order(
    {
      ...{ candidates, all: [...candidates, ...others] },
      held: (nodes) => nodes.map((each) => of.get(each)?.held ?? 0),
    },
    asked.count ?? candidates.length,
  );
  return atOnce(work).map(({ metadata }) => metadata.name ?? '');
}

const ZONE = 'topology.kubernetes.io/zone';
const zone = (value: string): Given => ({ labels: { [ZONE]: value } });
const wish = (key: string, value: string, weight: number) => ({
  weight,
  preference: { matchExpressions: [{ key, operator: 'In', values: [value] }] },
});
const hard = (more: Partial<SpreadConstraint> = {}): NodePreferences => ({
  topologySpreadConstraints: [{ topologyKey: ZONE, maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule', ...more }],
});
const soft = (more: Partial<SpreadConstraint> = {}) => hard({ whenUnsatisfiable: 'ScheduleAnyway', ...more });
/** Stronger than any soft spread. */
const ZONE_A = [wish(ZONE, 'a', 100)];

describe('the order of nodes under a limit', () => {
  it.each<{ what: string; given: Record<string, Given>; asked?: Asked; order: string[] }>([
    {
      what: 'is by name where nothing else tells them apart',
      given: { c: {}, a: {}, b: {} },
      order: ['a', 'b', 'c'],
    },
    {
      what: 'puts the sum of the weights that match first',
      given: {
        a: {},
        b: { labels: { disk: 'ssd' } },
        c: { labels: { disk: 'ssd', gpu: 'yes' } },
        d: { labels: { gpu: 'yes' } },
      },
      asked: { preferences: { nodeAffinity: [wish('disk', 'ssd', 60), wish('gpu', 'yes', 40)] } },
      order: ['c', 'b', 'd', 'a'],
    },
    {
      what: 'passes over a preferred term that is malformed',
      given: { a: {}, b: { labels: { disk: 'ssd' } } },
      asked: {
        preferences: {
          nodeAffinity: [
            { weight: 100, preference: { matchExpressions: [{ key: 'disk', operator: 'Near' }] } },
            wish('disk', 'ssd', 1),
          ],
        },
      },
      order: ['b', 'a'],
    },
    {
      what: 'takes a preferred name',
      given: { a: {}, b: {} },
      asked: {
        preferences: {
          nodeAffinity: [
            {
              weight: 1,
              preference: { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['b'] }] },
            },
          ],
        },
      },
      order: ['b', 'a'],
    },
    {
      what: 'puts taints of PreferNoSchedule last, the more the later',
      given: { a: { prefersNot: 2 }, b: { prefersNot: 1 }, c: {} },
      order: ['c', 'b', 'a'],
    },
    {
      what: 'bears a taint of PreferNoSchedule that is tolerated',
      given: { a: { prefersNot: 1 }, b: {} },
      asked: { tolerations: [{ key: 'wish-0', operator: 'Exists', effect: 'PreferNoSchedule' }] },
      order: ['a', 'b'],
    },
    {
      what: 'weighs such a taint more than a preference: 3 to 2',
      given: { a: { prefersNot: 1, labels: { disk: 'ssd' } }, b: {} },
      asked: { preferences: { nodeAffinity: [wish('disk', 'ssd', 100)] } },
      order: ['b', 'a'],
    },
    { what: 'puts larger nodes first', given: { a: { cpu: '2' }, b: { cpu: '32' } }, order: ['b', 'a'] },
    {
      what: 'weighs a preference more than size',
      given: { a: { cpu: '64' }, b: { cpu: '1', labels: { disk: 'ssd' } } },
      asked: { preferences: { nodeAffinity: [wish('disk', 'ssd', 1)] } },
      order: ['b', 'a'],
    },
    {
      // 4 of 6 are 66 of 100, 32 more than 3 of 6 once weighed; the fewer processors cost 33.
      what: 'cuts off what is no whole number',
      given: {
        a: { cpu: '148m', labels: { x: 'yes', y: 'yes' } },
        b: { labels: { x: 'yes' } },
        m: { labels: { x: 'yes', y: 'yes', z: 'yes' } },
      },
      asked: {
        preferences: { nodeAffinity: [wish('x', 'yes', 3), wish('y', 'yes', 1), wish('z', 'yes', 2)] },
      },
      order: ['m', 'b', 'a'],
    },
    {
      what: 'keeps what is warm where others are no better',
      given: { a: {}, b: { held: 1 }, c: { free: 9 } },
      order: ['b', 'c', 'a'],
    },
    {
      what: 'gives up what is warm for a better node',
      given: { a: { labels: { disk: 'ssd' } }, b: { held: 1 } },
      asked: { preferences: { nodeAffinity: [wish('disk', 'ssd', 1)] } },
      order: ['a', 'b'],
    },
    {
      what: 'puts the freer disk first among the same',
      given: { a: { free: 1 }, b: { free: 2 } },
      order: ['b', 'a'],
    },
    {
      what: 'spreads over zones where the workload says nothing, as the scheduler does',
      given: { a1: zone('a'), a2: zone('a'), a3: zone('a'), b1: zone('b'), c1: zone('c') },
      order: ['a1', 'b1', 'c1', 'a2', 'a3'],
    },
    {
      what: 'does not spread over zones where the workload has constraints of its own, of which none counts its pods',
      given: { a1: zone('a'), a2: zone('a'), b1: zone('b') },
      asked: { preferences: { topologySpreadConstraints: [] } },
      order: ['a1', 'a2', 'b1'],
    },
    {
      what: 'keeps to maxSkew of DoNotSchedule, whatever is preferred',
      given: { a1: zone('a'), a2: zone('a'), a3: zone('a'), b1: zone('b'), b2: zone('b') },
      asked: { preferences: { ...hard(), nodeAffinity: ZONE_A } },
      order: ['a1', 'b1', 'a2', 'b2', 'a3'],
    },
    {
      what: 'lets a preference use the skew that is allowed',
      given: { a1: zone('a'), a2: zone('a'), a3: zone('a'), b1: zone('b'), b2: zone('b') },
      asked: { preferences: { ...hard({ maxSkew: 2 }), nodeAffinity: ZONE_A } },
      order: ['a1', 'a2', 'b1', 'a3', 'b2'],
    },
    {
      what: 'puts a node without the label of a constraint last',
      given: { a: { cpu: '64' }, b1: zone('b'), b2: zone('b') },
      asked: { preferences: hard() },
      order: ['b1', 'b2', 'a'],
    },
    {
      what: 'takes too few domains for an emptiest one of none',
      given: { a1: zone('a'), a2: zone('a'), a3: zone('a'), b1: zone('b'), b2: zone('b') },
      asked: { preferences: { ...hard({ maxSkew: 2, minDomains: 3 }), nodeAffinity: ZONE_A } },
      order: ['a1', 'a2', 'b1', 'b2', 'a3'],
    },
    {
      what: 'counts a zone whose nodes are tainted as the emptiest',
      given: { a1: zone('a'), a2: zone('a'), a3: zone('a'), b1: zone('b'), b2: zone('b') },
      asked: {
        preferences: { ...hard({ maxSkew: 2 }), nodeAffinity: ZONE_A },
        others: [node('c1', { ...zone('c'), taints: [{ key: 'x', effect: 'NoSchedule' }] })],
      },
      order: ['a1', 'a2', 'b1', 'b2', 'a3'],
    },
    {
      what: 'does not count it where the taints are honoured',
      given: { a1: zone('a'), a2: zone('a'), a3: zone('a'), b1: zone('b'), b2: zone('b') },
      asked: {
        preferences: { ...hard({ maxSkew: 2, nodeTaintsPolicy: 'Honor' }), nodeAffinity: ZONE_A },
        others: [node('c1', { ...zone('c'), taints: [{ key: 'x', effect: 'NoSchedule' }] })],
      },
      order: ['a1', 'a2', 'b1', 'a3', 'b2'],
    },
    {
      what: 'does not count a zone that the affinity keeps from',
      given: { a1: zone('a'), a2: zone('a'), a3: zone('a'), b1: zone('b'), b2: zone('b') },
      asked: {
        preferences: { ...hard({ maxSkew: 2 }), nodeAffinity: ZONE_A },
        requirements: {
          nodeAffinity: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: ZONE, operator: 'NotIn', values: ['c'] }] }],
          },
        },
        others: [node('c1', zone('c'))],
      },
      order: ['a1', 'a2', 'b1', 'a3', 'b2'],
    },
    {
      what: 'counts it where the affinity is ignored',
      given: { a1: zone('a'), a2: zone('a'), a3: zone('a'), b1: zone('b'), b2: zone('b') },
      asked: {
        preferences: { ...hard({ maxSkew: 2, nodeAffinityPolicy: 'Ignore' }), nodeAffinity: ZONE_A },
        requirements: {
          nodeAffinity: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: ZONE, operator: 'NotIn', values: ['c'] }] }],
          },
        },
        others: [node('c1', zone('c'))],
      },
      order: ['a1', 'a2', 'b1', 'b2', 'a3'],
    },
    {
      what: 'weighs ScheduleAnyway as much as a preference, 2 to 2: the names decide',
      given: { a1: zone('a'), a2: zone('a'), a3: zone('a'), b1: zone('b') },
      asked: { preferences: { ...soft(), nodeAffinity: [wish(ZONE, 'a', 1)] } },
      order: ['a1', 'a2', 'a3', 'b1'],
    },
    {
      what: 'spreads over two topologies at once',
      given: {
        a1: { labels: { [ZONE]: 'a', rack: '1' } },
        a2: { labels: { [ZONE]: 'a', rack: '2' } },
        b1: { labels: { [ZONE]: 'b', rack: '1' } },
        b2: { labels: { [ZONE]: 'b', rack: '2' } },
      },
      asked: {
        preferences: {
          topologySpreadConstraints: [
            { topologyKey: ZONE, maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' },
            { topologyKey: 'rack', maxSkew: 1, whenUnsatisfiable: 'ScheduleAnyway' },
          ],
        },
      },
      order: ['a1', 'b2', 'a2', 'b1'],
    },
    {
      what: 'scores no spread for a node without a label that a constraint asks for',
      given: { a: {}, b1: zone('b'), c1: zone('c') },
      asked: { preferences: soft() },
      order: ['b1', 'c1', 'a'],
    },
    {
      what: 'is not moved by a constraint on hosts: each is taken once',
      given: { b: { cpu: '2' }, a: { cpu: '2' }, c: { cpu: '64' } },
      asked: { preferences: hard({ topologyKey: 'kubernetes.io/hostname' }) },
      order: ['c', 'a', 'b'],
    },
  ])('$what', ({ given, asked, order }) => {
    expect(choose(given, asked)).toEqual(order);
  });
});

describe('for any nodes and preferences, the choice', () => {
  // Weights of at most 100 in sum, so that none is lost where the scheduler rounds.
  const wishes = [wish('disk', 'ssd', 50), wish('gpu', 'yes', 30), wish('arch', 'new', 20)];
  const labelled = fc.record({
    zone: fc.constantFrom('a', 'b', 'c', undefined),
    disk: fc.constantFrom('ssd', 'hdd'),
    gpu: fc.constantFrom('yes', 'no'),
    arch: fc.constantFrom('new', 'old'),
    prefersNot: fc.nat(3),
    cpu: fc.constantFrom('1', '2', '4', '8'),
    held: fc.nat(2),
    free: fc.nat(3),
  });
  const cluster = fc.array(labelled, { minLength: 1, maxLength: 20 }).map((all) =>
    Object.fromEntries(
      all.map(({ zone: where, disk, gpu, arch, ...rest }, index) => {
        const labels = { disk, gpu, arch, ...(where ? { [ZONE]: where } : {}) };
        return [`n${String(index).padStart(2, '0')}`, { ...rest, labels }];
      }),
    ),
  );
  const constraint = fc.record({
    topologyKey: fc.constantFrom(ZONE, 'gpu', 'kubernetes.io/hostname'),
    maxSkew: fc.integer({ min: 1, max: 3 }),
    whenUnsatisfiable: fc.constantFrom('DoNotSchedule', 'ScheduleAnyway'),
    minDomains: fc.integer({ min: 1, max: 4 }),
  });
  const preferences = fc.record(
    {
      nodeAffinity: fc.subarray(wishes),
      topologySpreadConstraints: fc.array(constraint, { maxLength: 2 }),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<NodePreferences>;

  it('takes each node once, as many as are asked for, and a higher limit only adds', () => {
    fc.assert(
      fc.property(cluster, preferences, fc.nat(25), (given, wanted, count) => {
        const all = choose(given, { preferences: wanted });
        expect(all.toSorted()).toEqual(Object.keys(given));
        expect(choose(given, { preferences: wanted, count })).toEqual(all.slice(0, count));
      }),
    );
  });

  it('never takes a node while one of the same zone is left that is better in every respect', () => {
    const cpus = ['1', '2', '4', '8'];
    fc.assert(
      fc.property(cluster, preferences, fc.integer({ min: 1, max: 19 }), (given, wanted, count) => {
        const chosen = new Set(choose(given, { preferences: wanted, count }));
        const value = (name: string) => {
          const { labels = {}, prefersNot = 0, cpu = '1' } = given[name] as Given;
          const matched = wanted.nodeAffinity?.filter(({ preference }) =>
            preference.matchExpressions?.every(({ key, values }) => labels[key] === values?.[0]),
          );
          const liked = matched?.reduce((sum, { weight }) => sum + weight, 0) ?? 0;
          return { place: `${labels[ZONE]} ${labels['gpu']}`, liked, prefersNot, size: cpus.indexOf(cpu) };
        };
        const left = Object.keys(given).filter((name) => !chosen.has(name));
        for (const one of [...chosen].map(value))
          for (const other of left.map(value))
            expect(
              other.place === one.place &&
                other.liked > one.liked &&
                other.prefersNot < one.prefersNot &&
                other.size > one.size,
            ).toBe(false);
      }),
    );
  });

  it('keeps to the skew of DoNotSchedule as long as every zone has a node left', () => {
    fc.assert(
      fc.property(cluster, fc.integer({ min: 1, max: 3 }), (given, maxSkew) => {
        const zoned = Object.fromEntries(Object.entries(given).filter(([, { labels }]) => labels[ZONE]));
        const left = new Map<string, number>();
        const zoneOf = (name: string) => (zoned[name] as Given).labels?.[ZONE] ?? '';
        for (const name of Object.keys(zoned)) left.set(zoneOf(name), (left.get(zoneOf(name)) ?? 0) + 1);
        const taken = new Map([...left.keys()].map((each) => [each, 0]));
        for (const name of choose(zoned, { preferences: { ...hard({ maxSkew }), nodeAffinity: wishes } })) {
          if ([...left.values()].includes(0)) return;
          left.set(zoneOf(name), (left.get(zoneOf(name)) ?? 0) - 1);
          taken.set(zoneOf(name), (taken.get(zoneOf(name)) ?? 0) + 1);
          expect(Math.max(...taken.values()) - Math.min(...taken.values())).toBeLessThanOrEqual(maxSkew);
        }
      }),
    );
  });
});

describe('the choice of 5,000 nodes', () => {
  it.each([
    { racks: 3, what: 'in a few zones' },
    { racks: 2500, what: 'in thousands of racks' },
  ])('$what takes every node once, and as many of each place as there are turns', ({ racks }) => {
    const given = Object.fromEntries(
      Array.from({ length: 5000 }, (_, index) => [`n${index}`, zone(`rack-${index % racks}`)]),
    );
    const order = choose(given, { preferences: hard() });
    expect(new Set(order).size).toBe(5000);
    const first = order.slice(0, racks).map((name) => given[name]?.labels?.[ZONE]);
    expect(new Set(first).size).toBe(racks);
  });
});
