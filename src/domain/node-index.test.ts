import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { atOnce } from './in-parts.ts';
import type { KubernetesNode, NodeSelectorRequirement } from './kubernetes.ts';
import { createNodeIndex } from './node-index.ts';
import { compileNodeMatcher, type NodeRequirements } from './node-matching.ts';
import { nodeKey } from './node-set.ts';
import { eligibleNodes } from './node-view.ts';
import { compileRuntimeMatcher, fittingNodes } from './runtime-class.ts';

const key = fc.constantFrom(
  'zone',
  'pool',
  'cpu',
  'kubernetes.io/os',
  'constructor',
  '__proto__',
  'not a key',
);
const value = fc.constantFrom('a', 'b', '', '8', '16', '-1', 'linux', 'windows', 'not a value');
const name = fc.constantFrom('n0', 'n1', 'n2', 'n10', 'N3', 'ä');
const effect = fc.constantFrom('NoSchedule', 'NoExecute', 'PreferNoSchedule', '');
const some = <T>(arbitrary: fc.Arbitrary<T>, maxLength = 3) => fc.array(arbitrary, { maxLength });
/** As parsed JSON has them: any key may be the object's own. */
const record = (values: fc.Arbitrary<string>) =>
  some(fc.tuple(key, values)).map((entries) => Object.fromEntries(entries) as Record<string, string>);

const truth = fc.constantFrom('True', 'False');
const NO_KEYS = { requiredKeys: [] };

const taint = fc.record(
  { key: fc.constantFrom('a', 'b'), value, effect },
  { requiredKeys: ['key', 'effect'] },
);
const node: fc.Arbitrary<KubernetesNode> = fc.record(
  {
    metadata: fc.record(
      { name, uid: fc.constantFrom('u1', 'u2'), labels: record(value) },
      { requiredKeys: ['name'] },
    ),
    spec: fc.record({ unschedulable: fc.boolean(), taints: some(taint) }, { requiredKeys: [] }),
    status: fc.record(
      {
        nodeInfo: fc.record({ operatingSystem: value, kubeletVersion: fc.constant('v1.36.3') }, NO_KEYS),
        conditions: some(fc.record({ type: fc.constantFrom('Ready', 'DiskPressure'), status: truth }), 2),
        runtimeHandlers: some(fc.record({ name: fc.constantFrom('kata', 'runc') }), 1),
        allocatable: fc.record({ cpu: fc.constantFrom('1', '8') }),
      },
      NO_KEYS,
    ),
  },
  { requiredKeys: ['metadata'] },
);

const operator = fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt', 'Odd');
const requirement = (
  keys: fc.Arbitrary<string>,
  values: fc.Arbitrary<string>,
): fc.Arbitrary<NodeSelectorRequirement> =>
  fc.record({ key: keys, operator, values: some(values) }, { requiredKeys: ['key', 'operator'] });
const term = fc.record(
  {
    matchExpressions: some(requirement(key, value)),
    matchFields: some(
      requirement(fc.constantFrom('metadata.name', 'spec.other'), fc.oneof(name, fc.constant(''))),
      2,
    ),
  },
  { requiredKeys: [] },
);
const toleration = fc.record(
  {
    key: fc.constantFrom('a', 'b', 'node.kubernetes.io/unschedulable', ''),
    operator: fc.constantFrom('Equal', 'Exists', 'Gt', ''),
    value,
    effect,
  },
  { requiredKeys: [] },
);
const requirements: fc.Arbitrary<NodeRequirements> = fc.record(
  {
    nodeName: fc.option(name, { nil: '', freq: 2 }),
    nodeSelector: record(value),
    nodeAffinity: fc.record({ nodeSelectorTerms: some(term) }),
    tolerations: some(toleration),
    os: fc.constantFrom('linux', 'windows'),
  },
  { requiredKeys: [] },
);

type Step = { put: KubernetesNode } | { remove: string };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ put: node }) },
  fc.record({ remove: name }),
);

function inOrder(nodes: Iterable<KubernetesNode>): KubernetesNode[] {
  return [...nodes].sort((a, b) => ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1));
}

describe('createNodeIndex', () => {
  it('answers as the matcher does, whatever came and went before', () => {
    fc.assert(
      fc.property(
        some(step, 20),
        fc.array(requirements, { minLength: 1, maxLength: 4 }),
        (steps, questions) => {
          const index = createNodeIndex();
          const nodes = new Map<string, KubernetesNode>();
          for (const each of steps) {
            if ('put' in each) index.put(each.put);
            else index.remove(each.remove);
            if ('put' in each) nodes.set(each.put.metadata.name ?? '', each.put);
            else nodes.delete(each.remove);
            const all = inOrder(nodes.values());
            expect(index.all()).toEqual(all);
            expect(index.keys()).toEqual(new Set(all.map(nodeKey)));
            for (const asked of questions) {
              const fits = compileNodeMatcher(asked);
              expect(index.fitting(asked)).toEqual(all.filter((known) => fits(known) === undefined));
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('joins several requirements', () => {
    fc.assert(
      fc.property(some(node, 8), requirements, requirements, (nodes, one, other) => {
        const index = createNodeIndex(nodes);
        const both = new Set(index.fitting(other));
        expect(index.fitting(one, other)).toEqual(index.fitting(one).filter((each) => both.has(each)));
      }),
      { numRuns: 100 },
    );
  });

  it('leads to the same nodes to warm as asking each node', () => {
    const strategies = { strategy: 'injected-noop', workerImageLegacy: 'noop:1' } as const;
    fc.assert(
      fc.property(some(node, 8), requirements, (nodes, asked) => {
        const index = createNodeIndex(nodes);
        const question = { fits: compileNodeMatcher(asked), strategies };
        const { skipped: all, ...wanted } = atOnce(eligibleNodes(index.all(), question));
        const { skipped, ...found } = atOnce(
          eligibleNodes(index.all(), {
            ...question,
            known: { fitting: index.fitting(asked), unwell: index.unwell() },
          }),
        );
        expect(found).toEqual(wanted);
        expect([...all]).toEqual(expect.arrayContaining([...skipped]));
      }),
      { numRuns: 300 },
    );
  });

  it('knows the nodes for pods of a RuntimeClass', () => {
    const scheduling = fc.record({ nodeSelector: record(value), tolerations: some(toleration) }, NO_KEYS);
    const overhead = fc.record({ podFixed: fc.record({ cpu: fc.constantFrom('250m', '4') }) });
    const runtimeClass = fc.record(
      { metadata: fc.constant({ name: 'kata' }), handler: fc.constant('kata'), scheduling, overhead },
      { requiredKeys: ['metadata'] },
    );
    fc.assert(
      fc.property(
        some(node, 8),
        requirements,
        fc.option(runtimeClass, { nil: undefined }),
        (nodes, asked, found) => {
          const index = createNodeIndex(nodes);
          const fits = compileRuntimeMatcher(asked, 'kata', found);
          const wanted = index.all().filter((each) => fits(each) === undefined);
          expect(fittingNodes(index, asked, 'kata', found)).toEqual(wanted);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('knows who is not well, by name, as nodes come, change and go', () => {
    const named = (name: string, spec: KubernetesNode['spec'] = {}, ready = 'True'): KubernetesNode => ({
      ...{ metadata: { name }, spec },
      status: { conditions: [{ type: 'Ready', status: ready }] },
    });
    const index = createNodeIndex([
      named('n3', { unschedulable: true }),
      named('n2'),
      named('n1', {}, 'False'),
    ]);
    const unwell = () => index.unwell().map(({ metadata }) => metadata.name);
    expect(unwell()).toEqual(['n1', 'n3']);
    index.put(named('n1'));
    index.put(named('n2', {}, 'Unknown'));
    expect(unwell()).toEqual(['n2', 'n3']);
    index.remove('n3');
    index.put({ ...named('n0'), metadata: { name: 'n0', deletionTimestamp: '2026-01-01T00:00:00Z' } });
    expect(unwell()).toEqual(['n0', 'n2']);
  });

  it('grows, and forgets the values of nodes that went', () => {
    const index = createNodeIndex();
    const numbered = (number: number): KubernetesNode => ({
      metadata: {
        name: `n${number}`,
        uid: `u${number}`,
        labels: { host: `h${number}`, odd: String(number % 2) },
      },
    });
    const names = (asked: NodeRequirements) => index.fitting(asked).map(({ metadata }) => metadata.name);
    for (let number = 0; number < 2_000; number += 1) {
      index.put(numbered(number));
      if (number >= 100) index.remove(`n${number - 100}`);
      expect(names({ nodeSelector: { host: `h${number}` } })).toEqual([`n${number}`]);
    }
    expect(names({ nodeSelector: { odd: '1' } })).toHaveLength(50);
    expect(names({ nodeSelector: { host: 'h5' } })).toEqual([]);
  });

  it('answers about more labels than it keeps', () => {
    const labels = Object.fromEntries(Array.from({ length: 300 }, (_, number) => [`k${number}`, 'yes']));
    const index = createNodeIndex([{ metadata: { name: 'n1', labels } }, { metadata: { name: 'n2' } }]);
    const asked = [...Object.keys(labels), ...Object.keys(labels)];
    const sizes = asked.map((each) => index.fitting({ nodeSelector: { [each]: 'yes' } }).length);
    expect(new Set(sizes)).toEqual(new Set([1]));
  });
});
