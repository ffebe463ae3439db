import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FingerprintInput, fingerprint, sha256, stableJson, taskName } from './fingerprint.ts';
import type { NodeSelectorTerm, Toleration } from './kubernetes.ts';
import type { NodePreferences } from './node-choice.ts';
import type { NodeRequirements } from './node-matching.ts';

const INPUT: FingerprintInput = {
  namespace: 'shop',
  images: [
    { image: 'docker.io/library/app:1', pullPolicy: 'IfNotPresent' },
    { image: 'docker.io/library/base:2', pullPolicy: 'Always' },
  ],
  pull: { imagePullSecrets: ['a', 'b'], serviceAccountName: 'web', runtimeClassName: 'kata' },
  requirements: {
    nodeSelector: { disk: 'ssd', zone: 'a' },
    nodeAffinity: {
      nodeSelectorTerms: [
        {
          matchExpressions: [
            { key: 'cpu', operator: 'In', values: ['x', 'y'] },
            { key: 'gpu', operator: 'Exists' },
          ],
        },
        { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }] },
      ],
    },
    tolerations: [
      { key: 'spot', operator: 'Exists', effect: 'NoSchedule' },
      { key: 'team', value: 'shop' },
    ],
  },
  maxNodes: '25%',
};

const PREFERENCES: NodePreferences = {
  nodeAffinity: [
    {
      weight: 1,
      preference: { matchExpressions: [{ key: 'disk', operator: 'In', values: ['ssd', 'nvme'] }] },
    },
    { weight: 2, preference: { matchExpressions: [{ key: 'gpu', operator: 'Exists' }] } },
  ],
  topologySpreadConstraints: [
    { topologyKey: 'zone', maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' },
    { topologyKey: 'rack', maxSkew: 2, whenUnsatisfiable: 'ScheduleAnyway' },
  ],
};

function withRequirements(change: Partial<NodeRequirements>): FingerprintInput {
  return { ...INPUT, requirements: { ...INPUT.requirements, ...change } };
}

describe('fingerprint', () => {
  it('is 32 hexadecimal digits that stay the same from release to release, since tasks are named by it', () => {
    expect(fingerprint(INPUT)).toMatch(/^[0-9a-f]{32}$/);
    expect(
      fingerprint({ namespace: 'a', images: [], pull: { imagePullSecrets: [] }, requirements: {} }),
    ).toBe('29c9561362bcc394a6c57494686112c3');
  });

  it.each<{ what: string; input: FingerprintInput }>([
    { what: 'images', input: { ...INPUT, images: INPUT.images.toReversed() } },
    {
      what: 'the fields of images',
      input: { ...INPUT, images: INPUT.images.map(({ image, pullPolicy }) => ({ pullPolicy, image })) },
    },
    {
      what: 'pull secrets',
      input: { ...INPUT, pull: { ...INPUT.pull, imagePullSecrets: ['b', 'a'] } },
    },
    {
      what: 'pull secrets, nor repeats of them',
      input: { ...INPUT, pull: { ...INPUT.pull, imagePullSecrets: ['b', 'a', 'b'] } },
    },
    {
      what: 'the labels of a node selector',
      input: withRequirements({ nodeSelector: { zone: 'a', disk: 'ssd' } }),
    },
    {
      what: 'tolerations',
      input: withRequirements({ tolerations: INPUT.requirements.tolerations?.toReversed() ?? [] }),
    },
    {
      what: 'terms of node affinity',
      input: withRequirements({
        nodeAffinity: {
          nodeSelectorTerms: INPUT.requirements.nodeAffinity?.nodeSelectorTerms.toReversed() ?? [],
        },
      }),
    },
  ])('does not see the order of $what', ({ input }) => {
    expect(fingerprint(input)).toBe(fingerprint(INPUT));
  });

  it.each<{ what: string; one: NodeRequirements; other: NodeRequirements }>([
    { what: 'an empty node selector and none', one: { nodeSelector: {} }, other: {} },
    { what: 'no tolerations and an empty list', one: { tolerations: [] }, other: {} },
    {
      what: 'a toleration with and without its default operator',
      one: { tolerations: [{ key: 'a', operator: 'Equal', value: 'b' }] },
      other: { tolerations: [{ key: 'a', value: 'b' }] },
    },
    {
      what: 'a toleration for ever and one for a while',
      one: { tolerations: [{ key: 'a', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 }] },
      other: { tolerations: [{ key: 'a', operator: 'Exists', effect: 'NoExecute' }] },
    },
    {
      what: 'empty fields of a toleration and absent ones',
      one: { tolerations: [{ key: '', operator: 'Exists', value: '', effect: '' }] },
      other: { tolerations: [{ operator: 'Exists' }] },
    },
    {
      what: 'a toleration once and twice',
      one: { tolerations: [{ key: 'a' }, { key: 'a' }] },
      other: { tolerations: [{ key: 'a' }] },
    },
    {
      what: 'a value beside Exists and none',
      one: { tolerations: [{ key: 'a', operator: 'Exists', value: 'b' }] },
      other: { tolerations: [{ key: 'a', operator: 'Exists' }] },
    },
    {
      what: 'an empty list of values and none',
      one: {
        nodeAffinity: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists', values: [] }] }],
        },
      },
      other: {
        nodeAffinity: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }] },
      },
    },
    {
      what: 'a term that matches nothing and none',
      one: {
        nodeAffinity: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }, {}],
        },
      },
      other: {
        nodeAffinity: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }] },
      },
    },
    {
      what: 'an empty list of expressions and none',
      one: {
        nodeAffinity: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }], matchFields: [] }],
        },
      },
      other: {
        nodeAffinity: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }] },
      },
    },
    {
      what: 'a value once and twice',
      one: {
        nodeAffinity: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'In', values: ['x', 'x'] }] }],
        },
      },
      other: {
        nodeAffinity: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'In', values: ['x'] }] }],
        },
      },
    },
    {
      what: 'no values and an empty list of them',
      one: {
        nodeAffinity: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }] },
      },
      other: {
        nodeAffinity: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists', values: [] }] }],
        },
      },
    },
  ])('does not tell apart $what', ({ one, other }) => {
    const of = (requirements: NodeRequirements) => fingerprint({ ...INPUT, requirements });
    expect(of(one)).toBe(of(other));
  });

  it.each<{ what: string; input: FingerprintInput }>([
    { what: 'the namespace', input: { ...INPUT, namespace: 'shop2' } },
    { what: 'an image', input: { ...INPUT, images: INPUT.images.slice(1) } },
    {
      what: 'a tag',
      input: {
        ...INPUT,
        images: INPUT.images.map((each) => ({ ...each, image: each.image.replace('app:1', 'app:10') })),
      },
    },
    {
      what: 'a pull policy',
      input: { ...INPUT, images: INPUT.images.map(({ image }) => ({ image, pullPolicy: 'Always' })) },
    },
    { what: 'a pull secret', input: { ...INPUT, pull: { ...INPUT.pull, imagePullSecrets: ['a'] } } },
    { what: 'the service account', input: { ...INPUT, pull: { ...INPUT.pull, serviceAccountName: 'x' } } },
    { what: 'the runtime class', input: { ...INPUT, pull: { ...INPUT.pull, runtimeClassName: 'x' } } },
    { what: 'the number of nodes', input: { ...INPUT, maxNodes: '26%' } },
    { what: 'what nodes it prefers', input: { ...INPUT, preferences: PREFERENCES } },
    { what: 'the hash of the template', input: { ...INPUT, templateHash: 'x' } },
    { what: 'the node', input: withRequirements({ nodeName: 'n1' }) },
    { what: 'the operating system', input: withRequirements({ os: 'linux' }) },
    { what: 'all of a node selector', input: withRequirements({ nodeSelector: {} }) },
    { what: 'the last of a node selector', input: withRequirements({ nodeSelector: { disk: 'ssd' } }) },
    { what: 'a node selector', input: withRequirements({ nodeSelector: { disk: 'ssd', zone: 'b' } }) },
    { what: 'a toleration', input: withRequirements({ tolerations: [{ key: 'spot', operator: 'Exists' }] }) },
    {
      what: 'node affinity that matches nothing',
      input: withRequirements({ nodeAffinity: { nodeSelectorTerms: [] } }),
    },
    {
      what: 'which expressions stand in one term',
      input: withRequirements({
        nodeAffinity: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'cpu', operator: 'In', values: ['x', 'y'] }] },
            { matchExpressions: [{ key: 'gpu', operator: 'Exists' }] },
            { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }] },
          ],
        },
      }),
    },
  ])('sees $what', ({ input }) => {
    expect(fingerprint(input)).not.toBe(fingerprint(INPUT));
  });

  it.each<{ what: string; one: Partial<FingerprintInput>; other: Partial<FingerprintInput> }>([
    {
      what: "the namespace's own service account and none",
      one: { pull: { imagePullSecrets: [], serviceAccountName: 'default' } },
      other: { pull: { imagePullSecrets: [] } },
    },
    {
      what: 'all of the nodes and no limit',
      one: { maxNodes: '100%' },
      other: { maxNodes: undefined as never },
    },
  ])('does not tell apart $what', ({ one, other }) => {
    expect(fingerprint({ ...INPUT, ...one })).toBe(fingerprint({ ...INPUT, ...other }));
  });

  it('sees more than a thousand tolerations', () => {
    const of = (last: string) =>
      fingerprint(
        withRequirements({
          tolerations: Array.from({ length: 1500 }, (_, index) => ({
            key: index < 1499 ? `k${index}` : last,
          })),
        }),
      );
    expect(of('a')).not.toBe(of('b'));
  });

  it.each<[string, NodeSelectorTerm, NodeSelectorTerm]>([
    [
      'a bound once from twice',
      { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] },
      { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1', '1'] }] },
    ],
    [
      'the name of a node once from twice',
      { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }] },
      { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1', 'n1'] }] },
    ],
  ])('tells %s, since two are malformed', (_, one, other) => {
    const of = (term: NodeSelectorTerm) =>
      fingerprint(withRequirements({ nodeAffinity: { nodeSelectorTerms: [term] } }));
    expect(of(one)).not.toBe(of(other));
  });

  it('sees a node selector of a single label', () => {
    const of = (requirements: NodeRequirements) => fingerprint({ ...INPUT, requirements });
    expect(of({ nodeSelector: { disk: 'ssd' } })).not.toBe(of({}));
  });

  it('is the same however a workload is written down', () => {
    const word = fc.stringMatching(/^[a-c]{1,2}$/);
    const expression = fc.record(
      { key: word, operator: fc.constantFrom('In', 'NotIn'), values: fc.uniqueArray(word) },
      { requiredKeys: ['key', 'operator'] },
    );
    const term = fc.record(
      { matchExpressions: fc.array(expression), matchFields: fc.array(expression) },
      { requiredKeys: [] },
    );
    const toleration = fc.record(
      { key: word, operator: word, value: word, effect: word },
      { requiredKeys: [] },
    );
    const image = fc.record({ image: word, pullPolicy: fc.constantFrom('Always', 'IfNotPresent') });
    const input = fc.record({
      images: fc.uniqueArray(image, { selector: (each) => each.image }),
      secrets: fc.uniqueArray(word),
      selector: fc.dictionary(word, word),
      terms: fc.array(term),
      tolerations: fc.array(toleration),
    });
    fc.assert(
      fc.property(input, fc.infiniteStream(fc.nat()), (parts, numbers) => {
        const mix = <T>(list: readonly T[]): T[] => shuffled(list, numbers);
        const write = (order: <T>(list: readonly T[]) => T[]): FingerprintInput => ({
          namespace: 'n',
          images: order(parts.images) as FingerprintInput['images'],
          pull: { imagePullSecrets: order(parts.secrets) },
          requirements: {
            nodeSelector: Object.fromEntries(order(Object.entries(parts.selector))),
            nodeAffinity: { nodeSelectorTerms: order(parts.terms).map((each) => orderedTerm(each, order)) },
            tolerations: order(parts.tolerations) as Toleration[],
          },
        });
        expect(fingerprint(write(mix))).toBe(fingerprint(write((list) => [...list])));
      }),
    );
  });
});

function orderedTerm(term: object, order: <T>(list: readonly T[]) => T[]): NodeSelectorTerm {
  const { matchExpressions, matchFields } = term as NodeSelectorTerm;
  const mixed = (list: NodeSelectorTerm['matchFields']) =>
    order(list ?? []).map((each) => ({ ...each, ...(each.values ? { values: order(each.values) } : {}) }));
  return {
    ...(matchExpressions ? { matchExpressions: mixed(matchExpressions) } : {}),
    ...(matchFields ? { matchFields: mixed(matchFields) } : {}),
  };
}

function shuffled<T>(list: readonly T[], numbers: fc.Stream<number>): T[] {
  const keyed = list.map((item) => ({ item, key: numbers.next().value ?? 0 }));
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item);
}

describe('stableJson', () => {
  it.each<{ value: unknown; json: string }>([
    { value: { b: 1, a: { d: [2, 1], c: null } }, json: '{"a":{"c":null,"d":[2,1]},"b":1}' },
    { value: { a: undefined, b: '' }, json: '{"b":""}' },
    { value: [], json: '[]' },
    { value: null, json: 'null' },
    { value: JSON.parse('{"z":1,"__proto__":2}'), json: '{"__proto__":2,"z":1}' },
  ])('writes $json', ({ value, json }) => {
    expect(stableJson(value)).toBe(json);
  });

  it('ends where an object is nested deeper than the stack goes', () => {
    const deep = (levels: number) => JSON.parse(`${'{"a":['.repeat(levels)}7${']}'.repeat(levels)}`);
    expect(stableJson(deep(100_000))).toBe(stableJson(deep(1000)));
    expect(stableJson(deep(400))).toBe(JSON.stringify(deep(400)));
  });

  it('loses nothing, and does not see the order of keys', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(stableJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
        if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
        const reversed = Object.fromEntries(Object.entries(value).toReversed());
        expect(stableJson(reversed)).toBe(stableJson(value));
      }),
    );
  });
});

it('taskName is a name that Kubernetes takes, of the first digits', () => {
  expect(taskName('0123456789abcdef0123456789abcdef')).toBe('ips-0123456789ab');
});

it('sha256 is that of FIPS 180-4', () => {
  expect(sha256('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});

it('reads preferences in any order, and each as often as it stands there', () => {
  const { nodeAffinity = [], topologySpreadConstraints = [] } = PREFERENCES;
  const of = (preferences: NodePreferences) => fingerprint({ ...INPUT, preferences });
  const print = of(PREFERENCES);
  const swapped = { matchExpressions: [{ key: 'disk', operator: 'In', values: ['nvme', 'ssd'] }] };
  expect(
    of({
      topologySpreadConstraints: topologySpreadConstraints.toReversed(),
      nodeAffinity: [...nodeAffinity.slice(1), { weight: 1, preference: swapped }],
    }),
  ).toBe(print);
  expect(of({ ...PREFERENCES, nodeAffinity: [...nodeAffinity, ...nodeAffinity] }), 'weighs twice').not.toBe(
    print,
  );
  expect(of({ nodeAffinity }), 'without constraints the defaults apply').not.toBe(
    of({ nodeAffinity, topologySpreadConstraints: [] }),
  );
});
