import { describe, expect, it } from 'vitest';
import { createImageSizes } from './image-sizes.ts';
import { atOnce, type InParts } from './in-parts.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { compileNodeMatcher, type NodeMatcher, type NodeRequirements } from './node-matching.ts';
import type { StrategyOptions } from './node-strategy.ts';
import { eligibleNodes, type NodeQuestion, presenceBy } from './node-view.ts';

describe('presenceBy', () => {
  const presenceOnNode = presenceBy(createImageSizes());
  const node: KubernetesNode = {
    metadata: { name: 'n1' },
    status: { images: [{ names: ['docker.io/library/app:1'], sizeBytes: 5 }] },
  };

  it.each<{ image: string; presence: string }>([
    { image: 'docker.io/library/app:1', presence: 'present' },
    { image: 'docker.io/library/app:10', presence: 'absent' },
  ])('$image is $presence', ({ image, presence }) => {
    expect(presenceOnNode(node, image)).toBe(presence);
    expect(presenceOnNode(node, image), 'asked again').toBe(presence);
  });

  it('is not known of a node that lists nothing', () => {
    expect(presenceOnNode({ metadata: {} }, 'docker.io/library/app:1')).toBe('unknown');
  });

  it.each(['app:1', 'docker.io/app:1', 'index.docker.io/library/app:1'])(
    'finds %s, as the spec of a task by hand may call it',
    (image) => {
      expect(presenceOnNode(node, image)).toBe('present');
    },
  );
});

describe('eligibleNodes', () => {
  function ready(name: string, change: Partial<KubernetesNode> = {}): KubernetesNode {
    return {
      metadata: { name },
      status: {
        conditions: [{ type: 'Ready', status: 'True' }],
        nodeInfo: { kubeletVersion: 'v1.36.0', containerRuntimeVersion: 'containerd://2.1.0' },
      },
      ...change,
    };
  }
  const AUTO: StrategyOptions = { strategy: 'auto', workerImageLegacy: '' };
  const fitsAll = () => undefined;
  function* first(nodes: KubernetesNode[], count: number): InParts<KubernetesNode[]> {
    yield;
    return nodes.slice(0, count);
  }
  const asked = (fits: NodeMatcher, maxNodes?: string, room?: NodeMatcher): NodeQuestion => ({
    ...{ fits, strategies: AUTO },
    ...(room ? { room } : {}),
    ...(maxNodes ? { limit: { maxNodes, first } } : {}),
  });
  const many = Array.from({ length: 10 }, (_, index) => ready(`n${index}`));

  it.each<{ maxNodes: string | undefined; of: number; names: string[] }>([
    { maxNodes: undefined, of: 3, names: ['n0', 'n1', 'n2'] },
    { maxNodes: '2', of: 3, names: ['n0', 'n1'] },
    { maxNodes: '7', of: 3, names: ['n0', 'n1', 'n2'] },
    { maxNodes: '10%', of: 3, names: ['n0'] },
    { maxNodes: '50%', of: 3, names: ['n0', 'n1'] },
    { maxNodes: '100%', of: 3, names: ['n0', 'n1', 'n2'] },
    { maxNodes: '1%', of: 1, names: ['n0'] },
  ])('of $of nodes, $maxNodes are $names, by name', ({ maxNodes, of, names }) => {
    const { eligible, nothingEligible } = atOnce(
      eligibleNodes(many.slice(0, of).reverse(), asked(fitsAll, maxNodes)),
    );
    expect(eligible.map((node) => node.metadata.name)).toEqual(names);
    expect(nothingEligible).toBeUndefined();
  });

  it('counts a percentage of the nodes that are eligible, not of all', () => {
    const fits = (node: KubernetesNode) => ((node.metadata.name ?? '') < 'n4' ? undefined : 'too far away');
    expect(
      atOnce(eligibleNodes(many, asked(fits, '50%'))).eligible.map((node) => node.metadata.name),
    ).toEqual(['n0', 'n1']);
  });

  it.each<{ what: string; nodes: KubernetesNode[]; why: string }>([
    { what: 'there is none', nodes: [], why: 'no node is eligible' },
    {
      what: 'the only one does not fit',
      nodes: [ready('misfit')],
      why: 'no node is eligible: it is a misfit (1 node)',
    },
    {
      what: 'one is not ready',
      nodes: [ready('n1', { status: { conditions: [{ type: 'Ready', status: 'False' }] } })],
      why: 'no node is eligible: node is not ready (1 node)',
    },
    {
      what: 'one is too old to pull without running anything',
      nodes: [
        ready('n1', {
          status: {
            nodeInfo: { kubeletVersion: 'v1.30.0', containerRuntimeVersion: 'containerd://2.1.0' },
          },
        }),
      ],
      why: 'no node is eligible: kubelet v1.30.0 cannot mount image volumes (1.35 or newer needed), and WORKER_IMAGE_LEGACY is not set (1 node)',
    },
    {
      what: 'they have several reasons: the most frequent first, and three of them',
      nodes: [
        ready('misfit'),
        ready('a', { metadata: { name: 'a', deletionTimestamp: 't' } }),
        ready('b', { metadata: { name: 'b', deletionTimestamp: 't' } }),
        ready('c', { status: { conditions: [{ type: 'Ready', status: 'False' }] } }),
        ready('d', { status: {} }),
      ],
      why: 'no node is eligible: node is being deleted (2 nodes), it is a misfit (1 node), node is not ready (1 node)',
    },
  ])('says why no node is eligible where $what', ({ nodes, why }) => {
    const fits = (node: KubernetesNode) => (node.metadata.name === 'misfit' ? 'it is a misfit' : undefined);
    expect(atOnce(eligibleNodes(nodes, asked(fits, '10%')))).toMatchObject({
      eligible: [],
      nothingEligible: why,
    });
  });

  const sick = (type: string, status: string) => ({ status: { conditions: [{ type, status }] } });
  const taint = (key: string) => ({ spec: { taints: [{ key, effect: 'NoSchedule' }] } });

  it.each<{ what: string; node: KubernetesNode; reason: string | undefined }>([
    { what: 'is not ready', node: ready('n', sick('Ready', 'Unknown')), reason: 'node is not ready' },
    {
      what: 'is tainted for not being ready',
      node: ready('n', { ...sick('Ready', 'False'), ...taint('node.kubernetes.io/not-ready') }),
      reason: 'node is not ready',
    },
    {
      what: 'is under disk pressure',
      node: ready('n', { ...sick('DiskPressure', 'True'), ...taint('node.kubernetes.io/disk-pressure') }),
      reason: 'node is under disk pressure',
    },
    {
      what: 'is cordoned',
      node: ready('n', { spec: { ...taint('node.kubernetes.io/unschedulable').spec, unschedulable: true } }),
      reason: 'node is cordoned',
    },
    { what: 'is not for this workload', node: ready('n', taint('dedicated')), reason: undefined },
    {
      what: 'is neither ready nor for this workload',
      node: ready('n', { ...sick('Ready', 'False'), ...taint('dedicated') }),
      reason: undefined,
    },
  ])('tells of a node left out that $what', ({ node, reason }) => {
    const fits = compileNodeMatcher({});
    const nodes = [...many, node];
    expect(atOnce(eligibleNodes(nodes, asked(fits))).leftOut).toEqual(new Map(reason ? [['n', reason]] : []));
    expect(atOnce(eligibleNodes(nodes, asked(fits, '3'))).leftOut, 'others take its place').toEqual(
      new Map(),
    );
    expect(
      atOnce(eligibleNodes(nodes, asked(fits, '11'))).leftOut.get('n'),
      'a limit that is not reached',
    ).toBe(reason);
  });

  it('has a reason for every node that is left out, by name', () => {
    const info = (kubeletVersion: string, operatingSystem = 'linux') => ({
      status: {
        nodeInfo: { kubeletVersion, containerRuntimeVersion: 'containerd://2.1.0', operatingSystem },
      },
    });
    const nodes = [
      ready('a'),
      ready('b'),
      ready('sick', sick('Ready', 'False')),
      ready('misfit', taint('dedicated')),
      ready('windows', info('v1.36.0', 'windows')),
      ready('old', info('v1.30.0')),
      ready('full'),
    ];
    const room = ({ metadata }: KubernetesNode) => (metadata.name === 'full' ? 'no room' : undefined);
    const found = atOnce(eligibleNodes(nodes, asked(compileNodeMatcher({}), '50%', room)));
    const { eligible, skipped, beyondLimit, leftOut } = found;
    expect(eligible.map((node) => node.metadata.name)).toEqual(['a']);
    expect(Object.fromEntries(skipped)).toEqual({
      sick: 'node is not ready',
      misfit: 'taint dedicated:NoSchedule is not tolerated',
      windows: 'Windows nodes can neither mount image volumes nor run the no-op',
      old: 'kubelet v1.30.0 cannot mount image volumes (1.35 or newer needed), and WORKER_IMAGE_LEGACY is not set',
      full: 'no room',
    });
    expect(beyondLimit, 'of b').toBe('the limit of 50% takes 1 of 2 nodes, and others come first');
    expect(leftOut).toEqual(new Map());
    const told = atOnce(eligibleNodes(nodes, asked(compileNodeMatcher({}), undefined, room))).leftOut;
    expect([...told.keys()], 'the workload may use these').toEqual(['sick', 'windows', 'old', 'full']);
  });

  it('reads a taint whose key is left out, as a file of nodes may have one', () => {
    const spec = JSON.parse('{"unschedulable":true,"taints":[{"effect":"NoSchedule"}]}');
    const { skipped, leftOut } = atOnce(eligibleNodes([ready('n', { spec })], asked(compileNodeMatcher({}))));
    expect(skipped).toEqual(new Map([['n', 'node is cordoned']]));
    expect(leftOut).toEqual(new Map());
  });

  it.each<[string, NodeRequirements]>([
    ['is bound to the node', { nodeName: 'n' }],
    ['tolerates it', { tolerations: [{ key: 'node.kubernetes.io/unschedulable', operator: 'Exists' }] }],
  ])('warms a cordoned node for who %s', (_, requirements) => {
    const spec = { ...taint('node.kubernetes.io/unschedulable').spec, unschedulable: true };
    const { eligible, leftOut } = atOnce(
      eligibleNodes([ready('n', { spec })], asked(compileNodeMatcher(requirements))),
    );
    expect(eligible.map((node) => node.metadata.name)).toEqual(['n']);
    expect(leftOut).toEqual(new Map());
  });

  it('leaves the list that it is given in its order', () => {
    const nodes = [ready('b'), ready('a')];
    atOnce(eligibleNodes(nodes, asked(fitsAll)));
    expect(nodes.map((node) => node.metadata.name)).toEqual(['b', 'a']);
  });
});
