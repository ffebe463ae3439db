import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type {
  KubernetesNode,
  NodeCondition,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  Taint,
  Toleration,
} from './kubernetes.ts';
import { compileNodeMatcher, type NodeRequirements, nodeReadiness } from './node-matching.ts';

type Labels = Record<string, string>;

const GPU: Taint = { key: 'dedicated', value: 'gpu', effect: 'NoSchedule' };
const CORDONED: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

function nodeWith(labels: Labels = {}, spec: KubernetesNode['spec'] = {}): KubernetesNode {
  return { metadata: { name: 'n1', labels }, spec };
}

function reasonFor(requirements: NodeRequirements, node: KubernetesNode): string | undefined {
  return compileNodeMatcher(requirements)(node);
}

function affinityReason(nodeSelectorTerms: NodeSelectorTerm[], labels: Labels = {}): string | undefined {
  return reasonFor({ nodeAffinity: { nodeSelectorTerms } }, nodeWith(labels));
}

function taintReason(taint: Taint, toleration: Toleration): string | undefined {
  return reasonFor({ tolerations: [toleration] }, nodeWith({}, { taints: [taint] }));
}

function requirement(key: string, operator: string, values?: string[]): NodeSelectorRequirement {
  return values === undefined ? { key, operator } : { key, operator, values };
}

/** What the API server sends may hold any key as an own property: only parsing it gives such an object. */
function parsed<T>(json: string): T {
  return JSON.parse(json) as T;
}

describe('compileNodeMatcher', () => {
  it('lets a pod without requirements onto a plain node', () => {
    expect(reasonFor({}, { metadata: {} })).toBeUndefined();
    expect(reasonFor({}, nodeWith({ disk: 'ssd' }))).toBeUndefined();
  });

  it('answers for each node anew', () => {
    const matcher = compileNodeMatcher({ nodeSelector: { disk: 'ssd' } });
    const disks = ['ssd', 'hdd', 'ssd', 'hdd'];
    expect(disks.map((disk) => matcher(nodeWith({ disk })) === undefined)).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });

  describe('node name', () => {
    it.each<[string, string, string | undefined]>([
      ['lets a bound pod onto its node', 'n1', undefined],
      ['keeps a bound pod from other nodes', 'n2', 'pod is bound to node n2'],
      ['does not compare beginnings', 'n', 'pod is bound to node n'],
      ['takes an empty name for none', '', undefined],
    ])('%s', (_, nodeName, expected) => {
      expect(reasonFor({ nodeName }, nodeWith())).toBe(expected);
    });
  });

  describe('os', () => {
    const linux = { metadata: {}, status: { nodeInfo: { operatingSystem: 'linux' } } };
    it.each<[string, string, KubernetesNode, string | undefined]>([
      ['fits the node of that os', 'linux', nodeWith({ 'kubernetes.io/os': 'linux' }), undefined],
      [
        'does not fit the node of another',
        'windows',
        nodeWith({ 'kubernetes.io/os': 'linux' }),
        'node runs linux, pod needs windows',
      ],
      ['reads the node info where there is no label', 'windows', linux, 'node runs linux, pod needs windows'],
      ['fits a node that does not tell', 'windows', nodeWith(), undefined],
      [
        'reads the node info where the label is empty',
        'windows',
        { ...linux, metadata: { labels: { 'kubernetes.io/os': '' } } },
        'node runs linux, pod needs windows',
      ],
      ['takes an empty os for none', '', linux, undefined],
    ])('%s', (_, os, node, expected) => {
      expect(reasonFor({ os }, node)).toBe(expected);
    });

    it('is not asked for where the pod does not tell one', () => {
      expect(reasonFor({}, nodeWith({ 'kubernetes.io/os': 'windows' }))).toBeUndefined();
    });
  });

  describe('node selector', () => {
    it.each<[string, Labels, Labels, string | undefined]>([
      ['matches an equal label', { disk: 'ssd' }, { disk: 'ssd', zone: 'a' }, undefined],
      ['matches everything where it is empty', {}, {}, undefined],
      ['matches an empty value', { gpu: '' }, { gpu: '' }, undefined],
      ['rejects another value', { disk: 'ssd' }, { disk: 'hdd' }, 'node selector disk=ssd does not match'],
      ['rejects a missing label', { disk: 'ssd' }, {}, 'node selector disk=ssd does not match'],
      ['tells an empty value from a missing label', { gpu: '' }, {}, 'node selector gpu= does not match'],
      [
        'needs all labels, and names the first that is wrong',
        { disk: 'ssd', zone: 'a', arch: 'arm64' },
        { disk: 'ssd', zone: 'b', arch: 'amd64' },
        'node selector zone=a does not match',
      ],
      [
        'finds no label that every object inherits',
        { constructor: 'x' },
        {},
        'node selector constructor=x does not match',
      ],
      [
        'finds a label named as what every object inherits',
        { constructor: 'x' },
        { constructor: 'x' },
        undefined,
      ],
    ])('%s', (_, nodeSelector, labels, expected) => {
      expect(reasonFor({ nodeSelector }, nodeWith(labels))).toBe(expected);
    });

    it('compares a label named __proto__ as any other', () => {
      const nodeSelector = parsed<Labels>('{"__proto__":"x"}');
      expect(reasonFor({ nodeSelector }, nodeWith(parsed('{"__proto__":"x"}')))).toBeUndefined();
      expect(reasonFor({ nodeSelector }, nodeWith(parsed('{"__proto__":"y"}')))).toMatch(/does not match/);
      expect(reasonFor({ nodeSelector }, nodeWith())).toMatch(/does not match/);
    });

    it('rejects a node that has no labels at all', () => {
      expect(reasonFor({ nodeSelector: { disk: 'ssd' } }, { metadata: {} })).toMatch(/does not match/);
    });
  });

  describe('node affinity, one expression', () => {
    const labels = {
      disk: 'ssd',
      cores: '16',
      big: '9223372036854775807',
      plus: '+5',
      zeros: '007',
      empty: '',
    };
    type Row = [does: string, key: string, operator: string, values: string[] | undefined, fits: boolean];
    it.each<Row>([
      ['In holds for one of the values', 'disk', 'In', ['hdd', 'ssd'], true],
      ['In fails for another value', 'disk', 'In', ['hdd'], false],
      ['In fails where the label is absent', 'zone', 'In', ['a'], false],
      ['In finds the empty value', 'empty', 'In', [''], true],
      ['In does not take an absent label for empty', 'zone', 'In', [''], false],
      ['NotIn fails for one of the values', 'disk', 'NotIn', ['hdd', 'ssd'], false],
      ['NotIn holds for another value', 'disk', 'NotIn', ['hdd'], true],
      ['NotIn holds where the label is absent', 'zone', 'NotIn', ['a'], true],
      ['Exists holds for any value', 'disk', 'Exists', undefined, true],
      ['Exists holds for the empty value', 'empty', 'Exists', undefined, true],
      ['Exists takes an empty list of values', 'disk', 'Exists', [], true],
      ['Exists fails where the label is absent', 'zone', 'Exists', undefined, false],
      ['Exists finds nothing inherited', 'constructor', 'Exists', undefined, false],
      ['DoesNotExist holds where the label is absent', 'zone', 'DoesNotExist', undefined, true],
      ['DoesNotExist fails for any value', 'empty', 'DoesNotExist', undefined, false],
      ['DoesNotExist overlooks what is inherited', 'toString', 'DoesNotExist', undefined, true],
      ['Gt compares numbers, not texts', 'cores', 'Gt', ['9'], true],
      ['Gt fails for an equal number', 'cores', 'Gt', ['16'], false],
      ['Gt fails where the label is absent', 'zone', 'Gt', ['0'], false],
      ['Gt fails where the label is no number', 'disk', 'Gt', ['0'], false],
      ['Gt fails where the label is empty', 'empty', 'Gt', ['0'], false],
      ['Gt is exact beyond what a double holds', 'big', 'Gt', ['9223372036854775806'], true],
      ['Gt reads a plus sign on the node', 'plus', 'Gt', ['4'], true],
      ['Gt reads leading zeros', 'zeros', 'Gt', ['006'], true],
      ['Lt compares numbers, not texts', 'cores', 'Lt', ['100'], true],
      ['Lt fails for an equal number', 'cores', 'Lt', ['16'], false],
      ['Lt fails where the label is absent', 'zone', 'Lt', ['9'], false],
      ['Lt reads leading zeros', 'zeros', 'Lt', ['8'], true],
      ['Lt reads any number of leading zeros', 'zeros', 'Lt', [`${'0'.repeat(30)}8`], true],
      ['Lt fails where the label is no number', 'disk', 'Lt', ['9'], false],
    ])('%s', (_, key, operator, values, fits) => {
      const reason = affinityReason([{ matchExpressions: [requirement(key, operator, values)] }], labels);
      expect(reason).toEqual(fits ? undefined : expect.stringMatching(/^node affinity .* does not match$/));
    });

    it('compares a label too long for a number as none', () => {
      const requirement = { key: 'cores', operator: 'Gt', values: ['0'] };
      expect(affinityReason([{ matchExpressions: [requirement] }], { cores: '9223372036854775808' })).toBe(
        'node affinity cores Gt (0) does not match',
      );
    });
  });

  describe('node affinity, malformed: matches no node, as the scheduler lets a term with a parse error match none', () => {
    const labels = { disk: 'ssd', cores: '16' };
    it.each<[does: string, key: string, operator: string, values: string[] | undefined, text: string]>([
      ['an unknown operator', 'disk', 'Equals', ['ssd'], 'disk Equals (ssd)'],
      ['an operator in lower case', 'disk', 'in', ['ssd'], 'disk in (ssd)'],
      ['no operator', 'disk', '', undefined, 'disk '],
      ['In without values', 'disk', 'In', undefined, 'disk In'],
      ['NotIn without values', 'zone', 'NotIn', [], 'zone NotIn'],
      ['Exists with values', 'disk', 'Exists', ['ssd'], 'disk Exists (ssd)'],
      ['DoesNotExist with values', 'zone', 'DoesNotExist', ['a'], 'zone DoesNotExist (a)'],
      ['Gt without a value', 'cores', 'Gt', undefined, 'cores Gt'],
      ['Gt with two values', 'cores', 'Gt', ['1', '2'], 'cores Gt (1, 2)'],
      ['Gt with a word', 'cores', 'Gt', ['many'], 'cores Gt (many)'],
      ['Gt with a fraction', 'cores', 'Gt', ['1.5'], 'cores Gt (1.5)'],
      ['Lt with more than 64 bits', 'cores', 'Lt', ['9223372036854775808'], 'cores Lt (9223372036854775808)'],
      ['Gt with a negative number, which is no label value', 'cores', 'Gt', ['-5'], 'cores Gt (-5)'],
      ['a key with a space', 'bad key', 'DoesNotExist', undefined, 'bad key DoesNotExist'],
      ['an empty key', '', 'DoesNotExist', undefined, ' DoesNotExist'],
      ['a key that begins with a dash', '-disk', 'DoesNotExist', undefined, '-disk DoesNotExist'],
      ['a key of two slashes', 'a/b/c', 'DoesNotExist', undefined, 'a/b/c DoesNotExist'],
      ['a key without a name', 'example.com/', 'DoesNotExist', undefined, 'example.com/ DoesNotExist'],
      ['a key without a prefix before its slash', '/disk', 'DoesNotExist', undefined, '/disk DoesNotExist'],
      [
        'a prefix in upper case',
        'Example.com/disk',
        'DoesNotExist',
        undefined,
        'Example.com/disk DoesNotExist',
      ],
      [
        'a name of 64 characters',
        'k'.repeat(64),
        'DoesNotExist',
        undefined,
        `${'k'.repeat(64)} DoesNotExist`,
      ],
      [
        'a prefix of 254 characters',
        `${'p'.repeat(254)}/k`,
        'DoesNotExist',
        undefined,
        `${'p'.repeat(254)}/k DoesNotExist`,
      ],
      ['a value with a space', 'disk', 'NotIn', ['a b'], 'disk NotIn (a b)'],
      ['a value of 64 characters', 'disk', 'NotIn', ['v'.repeat(64)], `disk NotIn (${'v'.repeat(64)})`],
      ['a wrong value beside a right one', 'disk', 'In', ['ssd', '-'], 'disk In (ssd, -)'],
    ])('%s', (_, key, operator, values, text) => {
      expect(affinityReason([{ matchExpressions: [requirement(key, operator, values)] }], labels)).toBe(
        `node affinity ${text} is malformed`,
      );
    });

    it.each(['k', 'a.b_c-D', 'example.com/Disk', '1/2', 'k'.repeat(63), `${'p'.repeat(253)}/k`])(
      'not: key %s',
      (key) => {
        expect(affinityReason([{ matchExpressions: [{ key, operator: 'DoesNotExist' }] }])).toBeUndefined();
      },
    );

    it('also where all other requirements of the term hold', () => {
      const good = { key: 'disk', operator: 'Exists' };
      const malformed = { key: 'disk', operator: 'Equals', values: ['ssd'] };
      expect(affinityReason([{ matchExpressions: [good, malformed] }], labels)).toMatch(/is malformed$/);
    });

    it('is told before what only this node lacks, since no node could ever fit', () => {
      const elsewhere = { key: 'disk', operator: 'In', values: ['hdd'] };
      const malformed = { key: 'metadata.name', operator: 'Exists' };
      const term = { matchExpressions: [elsewhere], matchFields: [malformed] };
      expect(affinityReason([term], labels)).toBe('node affinity metadata.name Exists is malformed');
    });

    it('a key that is left out', () => {
      const keyless = parsed<NodeSelectorRequirement>('{"operator":"DoesNotExist"}');
      expect(affinityReason([{ matchExpressions: [keyless] }])).toBe(
        'node affinity  DoesNotExist is malformed',
      );
    });

    it('does not spoil another term', () => {
      const malformed = { matchExpressions: [{ key: 'disk', operator: 'Equals', values: ['ssd'] }] };
      const good = { matchExpressions: [{ key: 'disk', operator: 'In', values: ['ssd'] }] };
      expect(affinityReason([malformed, good], labels)).toBeUndefined();
      expect(affinityReason([good, malformed], labels)).toBeUndefined();
      expect(affinityReason([malformed, good], { disk: 'hdd' })).toBe(
        'none of 2 node affinity terms matches; the first: node affinity disk Equals (ssd) is malformed',
      );
    });
  });

  describe('node affinity, terms', () => {
    const ssd = requirement('disk', 'In', ['ssd']);
    const zoneA = requirement('zone', 'In', ['a']);
    const named = (operator: string, ...values: string[]) => requirement('metadata.name', operator, values);
    const nothing = 'node affinity has no term that could match a node';
    it.each<[string, NodeSelectorTerm[], Labels, string | undefined]>([
      ['no terms match nothing', [], {}, nothing],
      ['an empty term matches nothing', [{}], {}, nothing],
      ['a term of empty lists matches nothing', [{ matchExpressions: [], matchFields: [] }], {}, nothing],
      [
        'an empty term takes nothing from another',
        [{}, { matchExpressions: [ssd] }],
        { disk: 'ssd' },
        undefined,
      ],
      [
        'an empty term adds nothing to another',
        [{}, { matchExpressions: [ssd] }],
        { disk: 'hdd' },
        'node affinity disk In (ssd) does not match',
      ],
      [
        'expressions of a term are ANDed',
        [{ matchExpressions: [ssd, zoneA] }],
        { disk: 'ssd', zone: 'b' },
        'node affinity zone In (a) does not match',
      ],
      [
        'terms are ORed',
        [{ matchExpressions: [ssd] }, { matchExpressions: [zoneA] }],
        { disk: 'hdd', zone: 'a' },
        undefined,
      ],
      [
        'no term of several matches',
        [{ matchExpressions: [ssd] }, { matchExpressions: [zoneA] }, { matchFields: [named('In', 'n2')] }],
        { disk: 'hdd' },
        'none of 3 node affinity terms matches; the first: node affinity disk In (ssd) does not match',
      ],
      ['a field holds the name of the node', [{ matchFields: [named('In', 'n1')] }], {}, undefined],
      [
        'a field does not hold another name',
        [{ matchFields: [named('In', 'n2')] }],
        {},
        'node affinity metadata.name In (n2) does not match',
      ],
      ['NotIn excludes other nodes only', [{ matchFields: [named('NotIn', 'n2')] }], {}, undefined],
      [
        'NotIn excludes the node itself',
        [{ matchFields: [named('NotIn', 'n1')] }],
        {},
        'node affinity metadata.name NotIn (n1) does not match',
      ],
      [
        'fields and expressions of a term are ANDed',
        [{ matchExpressions: [ssd], matchFields: [named('In', 'n2')] }],
        { disk: 'ssd' },
        'node affinity metadata.name In (n2) does not match',
      ],
      [
        'a field takes one name, not two',
        [{ matchFields: [named('In', 'n1', 'n2')] }],
        {},
        'node affinity metadata.name In (n1, n2) is malformed',
      ],
      [
        'a field takes one name, not none',
        [{ matchFields: [named('NotIn')] }],
        {},
        'node affinity metadata.name NotIn is malformed',
      ],
      [
        'a field takes In and NotIn only',
        [{ matchFields: [named('Exists', 'n1')] }],
        {},
        'node affinity metadata.name Exists (n1) is malformed',
      ],
      [
        'the name of the node is no label',
        [{ matchExpressions: [named('In', 'n1')] }],
        {},
        'node affinity metadata.name In (n1) does not match',
      ],
      [
        'a node has no other field than its name',
        [{ matchFields: [{ key: 'spec.providerID', operator: 'In', values: ['n1'] }] }],
        {},
        'node affinity spec.providerID In (n1) does not match',
      ],
      [
        'a reason quotes the first few values',
        [{ matchExpressions: [{ key: 'host', operator: 'In', values: ['a', 'b', 'c', 'd'] }] }],
        {},
        'node affinity host In (a, b, c, …) does not match',
      ],
    ])('%s', (_, terms, labels, expected) => {
      expect(affinityReason(terms, labels)).toBe(expected);
    });

    it('takes null for an empty list, as Go writes one', () => {
      const nodeAffinity = parsed<NonNullable<NodeRequirements['nodeAffinity']>>(
        '{"nodeSelectorTerms":null}',
      );
      expect(reasonFor({ nodeAffinity }, nodeWith())).toBe(nothing);
      const term = parsed<NodeSelectorTerm>(
        '{"matchExpressions":[{"key":"a","operator":"DoesNotExist","values":null}],"matchFields":null}',
      );
      expect(affinityReason([term])).toBeUndefined();
    });

    it('applies beside the node selector', () => {
      const requirements = {
        nodeSelector: { zone: 'a' },
        nodeAffinity: { nodeSelectorTerms: [{ matchExpressions: [ssd] }] },
      };
      expect(reasonFor(requirements, nodeWith({ zone: 'a', disk: 'ssd' }))).toBeUndefined();
      expect(reasonFor(requirements, nodeWith({ zone: 'a' }))).toBe(
        'node affinity disk In (ssd) does not match',
      );
      expect(reasonFor(requirements, nodeWith({ disk: 'ssd' }))).toBe('node selector zone=a does not match');
    });
  });

  describe('taints without tolerations', () => {
    it.each<[string, Taint, string | undefined]>([
      ['NoSchedule rejects', GPU, 'taint dedicated=gpu:NoSchedule is not tolerated'],
      [
        'NoExecute rejects',
        { ...GPU, effect: 'NoExecute' },
        'taint dedicated=gpu:NoExecute is not tolerated',
      ],
      ['PreferNoSchedule does not', { ...GPU, effect: 'PreferNoSchedule' }, undefined],
      [
        'a taint needs no value',
        { key: 'down', effect: 'NoExecute' },
        'taint down:NoExecute is not tolerated',
      ],
    ])('%s', (_, taint, expected) => {
      expect(reasonFor({}, nodeWith({}, { taints: [taint] }))).toBe(expected);
    });
  });

  describe('tolerations', () => {
    const empty: Taint = { key: 'dedicated', effect: 'NoSchedule' };
    const numeric: Taint = { key: 'loss', value: '5', effect: 'NoSchedule' };
    it.each<[does: string, taint: Taint, toleration: Toleration, fits: boolean]>([
      [
        'Equal holds for key, value and effect',
        GPU,
        { key: 'dedicated', operator: 'Equal', value: 'gpu', effect: 'NoSchedule' },
        true,
      ],
      ['no operator means Equal', GPU, { key: 'dedicated', value: 'gpu', effect: 'NoSchedule' }, true],
      ['an empty operator means Equal', GPU, { key: 'dedicated', operator: '', value: 'gpu' }, true],
      ['no effect means every effect', GPU, { key: 'dedicated', value: 'gpu' }, true],
      ['an empty effect means every effect', GPU, { key: 'dedicated', value: 'gpu', effect: '' }, true],
      [
        'another effect is not tolerated',
        GPU,
        { key: 'dedicated', value: 'gpu', effect: 'NoExecute' },
        false,
      ],
      ['another value is not tolerated', GPU, { key: 'dedicated', value: 'cpu' }, false],
      ['no value is another value', GPU, { key: 'dedicated' }, false],
      ['no value equals no value', empty, { key: 'dedicated' }, true],
      ['no value equals the empty value', { ...empty, value: '' }, { key: 'dedicated' }, true],
      ['the empty value equals no value', empty, { key: 'dedicated', value: '' }, true],
      ['another key is not tolerated', GPU, { key: 'other', value: 'gpu' }, false],
      ['Exists holds for every value', GPU, { key: 'dedicated', operator: 'Exists' }, true],
      ['Exists asks for the key', GPU, { key: 'other', operator: 'Exists' }, false],
      [
        'Exists asks for the effect',
        GPU,
        { key: 'dedicated', operator: 'Exists', effect: 'NoExecute' },
        false,
      ],
      ['Exists without a key holds for every taint', GPU, { operator: 'Exists' }, true],
      ['Exists with an empty key holds for every taint', GPU, { key: '', operator: 'Exists' }, true],
      ['Exists without a key asks for the effect', GPU, { operator: 'Exists', effect: 'NoExecute' }, false],
      ['Equal without a key compares values only', GPU, { operator: 'Equal', value: 'gpu' }, true],
      [
        'an unknown operator tolerates nothing',
        GPU,
        { key: 'dedicated', operator: 'In', value: 'gpu' },
        false,
      ],
      [
        'a time limit does not matter to the scheduler',
        { ...GPU, effect: 'NoExecute' },
        { operator: 'Exists', tolerationSeconds: 0 },
        true,
      ],
      [
        'Lt holds for a smaller value of the taint',
        numeric,
        { key: 'loss', operator: 'Lt', value: '10' },
        true,
      ],
      ['Lt fails for an equal value', numeric, { key: 'loss', operator: 'Lt', value: '5' }, false],
      [
        'Lt fails for a greater value of the taint',
        numeric,
        { key: 'loss', operator: 'Lt', value: '4' },
        false,
      ],
      [
        'Gt holds for a greater value of the taint',
        numeric,
        { key: 'loss', operator: 'Gt', value: '-10' },
        true,
      ],
      ['Gt fails for an equal value', numeric, { key: 'loss', operator: 'Gt', value: '5' }, false],
      ['Gt asks for the key', numeric, { key: 'other', operator: 'Gt', value: '1' }, false],
      [
        'Gt asks for the effect',
        numeric,
        { key: 'loss', operator: 'Gt', value: '1', effect: 'NoExecute' },
        false,
      ],
      [
        'Gt fails for a taint that is no number',
        GPU,
        { key: 'dedicated', operator: 'Gt', value: '1' },
        false,
      ],
      [
        'Lt fails for a taint that is no number',
        GPU,
        { key: 'dedicated', operator: 'Lt', value: '1' },
        false,
      ],
      [
        'Lt fails for a taint without a value',
        empty,
        { key: 'dedicated', operator: 'Lt', value: '1' },
        false,
      ],
      ['Gt fails without a value', numeric, { key: 'loss', operator: 'Gt' }, false],
      [
        'leading zeros are no number here',
        { ...numeric, value: '05' },
        { key: 'loss', operator: 'Lt', value: '9' },
        false,
      ],
      ['a plus sign is no number here', numeric, { key: 'loss', operator: 'Lt', value: '+9' }, false],
      ['minus zero is no number here', numeric, { key: 'loss', operator: 'Gt', value: '-0' }, false],
      ['zero is a number', numeric, { key: 'loss', operator: 'Gt', value: '0' }, true],
      [
        'more than 64 bits are no number',
        numeric,
        { key: 'loss', operator: 'Lt', value: '9223372036854775808' },
        false,
      ],
    ])('%s', (_, taint, toleration, fits) => {
      expect(taintReason(taint, toleration)).toEqual(
        fits ? undefined : expect.stringMatching(/is not tolerated$/),
      );
    });

    it('must cover every taint, each by any toleration', () => {
      const spot = { key: 'spot', effect: 'NoSchedule' };
      const tolerations = [
        { key: 'spot', operator: 'Exists' },
        { key: 'dedicated', operator: 'Exists' },
      ];
      expect(reasonFor({ tolerations }, nodeWith({}, { taints: [GPU, spot] }))).toBeUndefined();
      expect(reasonFor({ tolerations: tolerations.slice(1) }, nodeWith({}, { taints: [GPU, spot] }))).toBe(
        'taint spot:NoSchedule is not tolerated',
      );
    });
  });

  describe('a cordoned node', () => {
    it.each<[string, Toleration[], string | undefined]>([
      ['rejects', [], 'node is cordoned'],
      ['rejects who tolerates another taint', [{ key: 'dedicated', operator: 'Exists' }], 'node is cordoned'],
      [
        'takes who tolerates its taint',
        [{ key: CORDONED.key, operator: 'Exists', effect: 'NoSchedule' }],
        undefined,
      ],
      ['takes who tolerates its taint by the empty value', [{ key: CORDONED.key }], undefined],
      ['takes who tolerates everything', [{ operator: 'Exists' }], undefined],
      [
        'rejects who tolerates its taint for NoExecute',
        [{ key: CORDONED.key, operator: 'Exists', effect: 'NoExecute' }],
        'node is cordoned',
      ],
    ])('%s', (_, tolerations, expected) => {
      expect(reasonFor({ tolerations }, nodeWith({}, { unschedulable: true }))).toBe(expected);
      expect(reasonFor({ tolerations }, nodeWith({}, { unschedulable: true, taints: [CORDONED] }))).toBe(
        expected,
      );
    });

    it('may be taken again once it is uncordoned', () => {
      expect(reasonFor({}, nodeWith({}, { unschedulable: false }))).toBeUndefined();
    });
  });

  describe('a pod that carries the name of its node is admitted by the kubelet, not by the scheduler', () => {
    const requirements: NodeRequirements = { nodeName: 'n1' };
    it.each<[string, NodeRequirements, KubernetesNode['spec'], string | undefined]>([
      ['cordons do not count', {}, { unschedulable: true, taints: [CORDONED] }, undefined],
      ['NoSchedule does not count', {}, { taints: [GPU] }, undefined],
      [
        'NoExecute counts',
        {},
        { taints: [GPU, { key: 'spot', effect: 'NoExecute' }] },
        'taint spot:NoExecute is not tolerated',
      ],
      [
        'NoExecute may be tolerated, for however short',
        { tolerations: [{ key: 'spot', operator: 'Exists', tolerationSeconds: 0 }] },
        { taints: [{ key: 'spot', effect: 'NoExecute' }] },
        undefined,
      ],
      [
        'the node selector counts',
        { nodeSelector: { disk: 'ssd' } },
        {},
        'node selector disk=ssd does not match',
      ],
      [
        'node affinity counts',
        { nodeAffinity: { nodeSelectorTerms: [] } },
        {},
        'node affinity has no term that could match a node',
      ],
      ['os counts', { os: 'windows' }, {}, 'node runs linux, pod needs windows'],
    ])('%s', (_, more, spec, expected) => {
      const node = nodeWith({ 'kubernetes.io/os': 'linux' }, spec);
      expect(reasonFor({ ...requirements, ...more }, node)).toBe(expected);
    });
  });

  it('tells what the workload asked for before what was done to the node', () => {
    const node = nodeWith({}, { unschedulable: true, taints: [CORDONED, GPU] });
    expect(reasonFor({ nodeName: 'n2', nodeSelector: { disk: 'ssd' } }, node)).toBe(
      'pod is bound to node n2',
    );
    expect(reasonFor({ nodeSelector: { disk: 'ssd' } }, node)).toBe('node selector disk=ssd does not match');
    expect(reasonFor({}, node)).toBe('node is cordoned');
  });
});

describe('compileNodeMatcher, for all requirements', () => {
  const key = fc.constantFrom('a', 'b', 'c');
  const value = fc.constantFrom('', '1', '2', '10');
  const labels = fc.dictionary(key, value);
  const anyRequirement = fc.oneof(
    fc.record({
      key,
      operator: fc.constantFrom('In', 'NotIn'),
      values: fc.array(value, { minLength: 1, maxLength: 3 }),
    }),
    fc.record({ key, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
    fc.record({ key, operator: fc.constantFrom('Gt', 'Lt'), values: fc.tuple(fc.constantFrom('1', '5')) }),
  );
  const term = fc.record({ matchExpressions: fc.array(anyRequirement, { maxLength: 3 }) });
  const terms = fc.array(term, { maxLength: 4 });

  it('In and NotIn, Exists and DoesNotExist are opposites', () => {
    const opposite: Labels = { In: 'NotIn', NotIn: 'In', Exists: 'DoesNotExist', DoesNotExist: 'Exists' };
    fc.assert(
      fc.property(anyRequirement, labels, ({ operator, ...rest }, on) => {
        fc.pre(opposite[operator] !== undefined);
        const fits = affinityReason([{ matchExpressions: [{ ...rest, operator }] }], on) === undefined;
        const other = affinityReason(
          [{ matchExpressions: [{ ...rest, operator: opposite[operator] ?? '' }] }],
          on,
        );
        expect(fits).toBe(other !== undefined);
      }),
    );
  });

  it('a node fits terms together exactly where it fits one of them alone', () => {
    fc.assert(
      fc.property(terms, labels, (all, on) => {
        const alone = all.some((one) => affinityReason([one], on) === undefined);
        expect(affinityReason(all, on) === undefined).toBe(alone);
      }),
    );
  });

  it('a node fits a term exactly where it fits each of its expressions alone', () => {
    fc.assert(
      fc.property(term, labels, ({ matchExpressions }, on) => {
        const each = matchExpressions.every(
          (one) => affinityReason([{ matchExpressions: [one] }], on) === undefined,
        );
        expect(affinityReason([{ matchExpressions }], on) === undefined).toBe(
          each && matchExpressions.length > 0,
        );
      }),
    );
  });

  it('one more toleration never takes a node away', () => {
    const effect = fc.constantFrom('NoSchedule', 'NoExecute', 'PreferNoSchedule');
    const taints = fc.array(fc.record({ key, value, effect }), { maxLength: 3 });
    const toleration = fc.record(
      { key, operator: fc.constantFrom('Exists', 'Equal', 'Gt', 'Lt'), value, effect },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        taints,
        fc.array(toleration),
        toleration,
        fc.boolean(),
        (on, tolerations, more, unschedulable) => {
          const node = nodeWith({}, { taints: on, unschedulable });
          const before = reasonFor({ tolerations }, node);
          expect(before ?? reasonFor({ tolerations: [...tolerations, more] }, node)).toBe(before);
          expect(reasonFor({ tolerations: [...tolerations, { operator: 'Exists' }] }, node)).toBeUndefined();
        },
      ),
    );
  });
});

describe('nodeReadiness', () => {
  const ready = { type: 'Ready', status: 'True' };
  it.each<[string, NodeCondition[], string | undefined]>([
    ['takes a ready node', [ready], undefined],
    ['rejects a node that is not ready', [{ type: 'Ready', status: 'False' }], 'node is not ready'],
    ['rejects a node of which nothing is heard', [{ type: 'Ready', status: 'Unknown' }], 'node is not ready'],
    ['takes a node that tells nothing', [], undefined],
    ['takes a node that tells other things', [{ type: 'MemoryPressure', status: 'True' }], undefined],
    [
      'rejects a node under disk pressure',
      [ready, { type: 'DiskPressure', status: 'True' }],
      'node is under disk pressure',
    ],
    ['takes a node without disk pressure', [{ type: 'DiskPressure', status: 'False' }, ready], undefined],
    [
      'takes a node whose disk pressure is unknown',
      [{ type: 'DiskPressure', status: 'Unknown' }, ready],
      undefined,
    ],
    [
      'tells of readiness before pressure',
      [
        { type: 'DiskPressure', status: 'True' },
        { type: 'Ready', status: 'False' },
      ],
      'node is not ready',
    ],
  ])('%s', (_, conditions, expected) => {
    expect(nodeReadiness({ metadata: {}, status: { conditions } })).toBe(expected);
  });

  it('rejects a node that is being deleted, however ready it is', () => {
    const metadata = { name: 'n1', deletionTimestamp: '2026-07-01T00:00:00Z' };
    expect(nodeReadiness({ metadata, status: { conditions: [ready] } })).toBe('node is being deleted');
  });

  it('takes a node without status', () => {
    expect(nodeReadiness({ metadata: { name: 'n1' } })).toBeUndefined();
  });
});
