import type {
  KubernetesNode,
  NodeSelectorTerm,
  PodSpec,
  Taint,
  Toleration,
} from '../../src/domain/kubernetes.ts';

/** Nodes and pods as clusters have them, the same ones for the same seed: what both sides of `make bench-match` read. */

export const POD_KINDS = ['plain', 'selector', 'affinity', 'tolerations', 'hostname'] as const;
export type PodKind = (typeof POD_KINDS)[number];
export type BenchPod = { metadata: { name: string; labels: { kind: PodKind } }; spec: PodSpec };

/** A hundred pods, by how often each kind comes. By turns and not by chance: every kind is among the first few pods. */
const KINDS = Object.entries({ plain: 30, selector: 30, affinity: 20, tolerations: 15, hostname: 5 }).flatMap(
  ([kind, share]) => Array<PodKind>(share).fill(kind as PodKind),
);
const FAMILIES = ['m7i', 'm7g', 'c7i', 'c7g', 'r7i', 'g6'];
const SIZES: [size: string, cpu: number][] = [
  ['large', 2],
  ['xlarge', 4],
  ['2xlarge', 8],
  ['4xlarge', 16],
];
const ZONES = ['eu-west-1a', 'eu-west-1b', 'eu-west-1c'];
const POOLS = ['general', 'web', 'batch', 'data', 'gpu', 'system'];
const TEAMS = ['payments', 'search', 'media', 'platform'];
const POOL = 'karpenter.sh/nodepool';
const ZONE = 'topology.kubernetes.io/zone';
const TYPE = 'node.kubernetes.io/instance-type';
const HOSTNAME = 'kubernetes.io/hostname';
const CPU = 'karpenter.k8s.aws/instance-cpu';
const CATEGORY = 'karpenter.k8s.aws/instance-category';
const CAPACITY = 'karpenter.sh/capacity-type';

type Random = { below(count: number): number; of<T>(list: readonly T[]): T; chance(share: number): boolean };

/** mulberry32: small, seeded, and good enough for a choice among a few values. */
function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (count: number) => Math.floor(next() * count);
  return {
    below,
    of: <T>(list: readonly T[]) => list[below(list.length)] as T,
    chance: (share) => next() < share,
  };
}

export function makeNodes(count: number, seed: number): KubernetesNode[] {
  const random = seeded(seed);
  return Array.from({ length: count }, (_, index) => makeNode(index, random));
}

function makeNode(index: number, random: Random): KubernetesNode {
  const name = `ip-10-${index >> 8}-${index & 255}-${random.below(255)}.eu-west-1.compute.internal`;
  const pool = random.of(POOLS);
  const family = pool === 'gpu' ? 'g6' : random.of(FAMILIES);
  const [size, cpu] = random.of(SIZES);
  const arch = family.endsWith('g') ? 'arm64' : 'amd64';
  const zone = random.of(ZONES);
  const type = `${family}.${size}`;
  const labels: Record<string, string> = {
    [HOSTNAME]: name,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': arch,
    'beta.kubernetes.io/os': 'linux',
    'beta.kubernetes.io/arch': arch,
    [TYPE]: type,
    'beta.kubernetes.io/instance-type': type,
    'topology.kubernetes.io/region': 'eu-west-1',
    [ZONE]: zone,
    'failure-domain.beta.kubernetes.io/region': 'eu-west-1',
    'failure-domain.beta.kubernetes.io/zone': zone,
    'topology.ebs.csi.aws.com/zone': zone,
    [POOL]: pool,
    [CAPACITY]: random.chance(0.4) ? 'spot' : 'on-demand',
    [CATEGORY]: family.slice(0, 1),
    'karpenter.k8s.aws/instance-family': family,
    'karpenter.k8s.aws/instance-generation': family.slice(1, 2),
    'karpenter.k8s.aws/instance-size': size,
    [CPU]: String(cpu),
    'karpenter.k8s.aws/instance-memory': String(cpu * 4096),
  };
  const unschedulable = random.chance(0.01);
  const taints = taintsOf(pool, unschedulable, random);
  return {
    metadata: { name, uid: `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`, labels },
    spec: { ...(unschedulable ? { unschedulable } : {}), ...(taints.length > 0 ? { taints } : {}) },
    status: {
      conditions: [
        { type: 'DiskPressure', status: 'False', lastHeartbeatTime: '2026-01-01T00:00:00Z' },
        { type: 'Ready', status: 'True', lastHeartbeatTime: '2026-01-01T00:00:00Z' },
      ],
      images: imagesOf(random),
      nodeInfo: {
        kubeletVersion: 'v1.36.3',
        containerRuntimeVersion: 'containerd://2.2.0',
        operatingSystem: 'linux',
        architecture: arch,
      },
    },
  };
}

function taintsOf(pool: string, unschedulable: boolean, random: Random): Taint[] {
  const taints: Taint[] = [];
  if (pool === 'gpu') taints.push({ key: 'nvidia.com/gpu', value: 'present', effect: 'NoSchedule' });
  if (pool === 'data') taints.push({ key: 'dedicated', value: random.of(TEAMS), effect: 'NoSchedule' });
  if (pool === 'system') taints.push({ key: 'CriticalAddonsOnly', effect: 'NoExecute' });
  if (random.chance(0.05)) taints.push({ key: 'spot', value: 'soon', effect: 'PreferNoSchedule' });
  if (unschedulable) taints.push({ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' });
  return taints;
}

/** As many as a kubelet tells of at most, each by tag and by digest. */
function imagesOf(random: Random): { names: string[]; sizeBytes: number }[] {
  return Array.from({ length: 50 }, (_, place) => {
    const number = place * 4 + random.below(4);
    const name = `registry.example.com/team-${number % 20}/app-${number}`;
    const digest = number.toString(16).padStart(64, '0');
    return { names: [`${name}@sha256:${digest}`, `${name}:v1.${number}`], sizeBytes: 1e9 - place * 1e7 };
  });
}

export function makePods(count: number, nodes: readonly KubernetesNode[], seed: number): BenchPod[] {
  const random = seeded(seed);
  return Array.from({ length: count }, (_, index) => {
    const kind = KINDS[(index * 37) % KINDS.length] ?? 'plain';
    return makePod(kind, index, nodes, random);
  });
}

function makePod(kind: PodKind, index: number, nodes: readonly KubernetesNode[], random: Random): BenchPod {
  const spec = { containers: [{ name: 'app', image: `registry.example.com/team-1/app-${index}:v1` }] };
  return {
    metadata: { name: `pod-${index}`, labels: { kind } },
    spec: { ...spec, ...REQUIREMENTS[kind](random, nodes) },
  };
}

const REQUIREMENTS: Record<PodKind, (random: Random, nodes: readonly KubernetesNode[]) => PodSpec> = {
  plain: () => ({}),
  selector(random) {
    const nodeSelector: Record<string, string> = { 'kubernetes.io/os': 'linux' };
    if (random.chance(0.6)) nodeSelector[POOL] = random.of(POOLS);
    if (random.chance(0.4)) nodeSelector[ZONE] = random.of(ZONES);
    if (random.chance(0.3)) nodeSelector['kubernetes.io/arch'] = random.of(['amd64', 'arm64']);
    return { nodeSelector };
  },
  affinity(random) {
    const types = SIZES.map(([size]) => `${random.of(FAMILIES)}.${size}`);
    const nodeSelectorTerms = [
      {
        matchExpressions: [
          { key: TYPE, operator: 'In', values: types },
          { key: ZONE, operator: 'In', values: ZONES.slice(random.below(2)) },
          { key: CAPACITY, operator: 'NotIn', values: ['spot'] },
        ],
      },
      {
        matchExpressions: [
          { key: CPU, operator: 'Gt', values: [String(2 ** (1 + random.below(3)))] },
          { key: CATEGORY, operator: 'In', values: [random.of(['m', 'c', 'r'])] },
        ],
      },
      { matchExpressions: [{ key: 'ips.example.com/warm-pool', operator: 'Exists' }] },
    ];
    return required(nodeSelectorTerms.slice(0, 1 + random.below(3)));
  },
  tolerations(random) {
    const team = random.of(TEAMS);
    const tolerations: Toleration[] = [
      { key: 'dedicated', operator: 'Equal', value: team, effect: 'NoSchedule' },
      { key: 'nvidia.com/gpu', operator: 'Exists' },
      {
        key: 'node.kubernetes.io/not-ready',
        operator: 'Exists',
        effect: 'NoExecute',
        tolerationSeconds: 300,
      },
    ];
    return { tolerations, nodeSelector: { [POOL]: random.of(['data', 'gpu', 'general']) } };
  },
  hostname(random, nodes) {
    const values = Array.from({ length: 1 + random.below(8) }, () => random.of(nodes).metadata.name ?? '');
    return required([{ matchExpressions: [{ key: HOSTNAME, operator: 'In', values }] }]);
  },
};

function required(nodeSelectorTerms: NodeSelectorTerm[]): PodSpec {
  return {
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } },
  };
}
