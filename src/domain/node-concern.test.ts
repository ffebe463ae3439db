import { expect, it } from 'vitest';
import { createImageSizes } from './image-sizes.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { type ChangedNode, concernOf, interestOf } from './node-concern.ts';
import { compileNodeMatcher } from './node-matching.ts';
import type { PrewarmTask } from './prewarm-task.ts';
import { trimNode } from './trim-node.ts';

const GB = 1_000_000_000;

type Change = {
  labels?: Record<string, string>;
  taints?: { key: string; effect: string }[];
  ready?: string;
  beat?: string;
  images?: Record<string, number>;
  disk?: string;
};

function node({
  labels,
  taints,
  ready = 'True',
  beat = 't1',
  images = {},
  disk,
}: Change = {}): KubernetesNode {
  return trimNode({
    metadata: { name: 'n', uid: 'u', resourceVersion: beat, labels: { pool: 'web', ...labels } },
    spec: { taints },
    status: {
      conditions: [{ type: 'Ready', status: ready, lastHeartbeatTime: beat }],
      images: Object.entries(images).map(([name, sizeBytes]) => ({ names: [name], sizeBytes })),
      ...(disk ? { capacity: { 'ephemeral-storage': disk } } : {}),
    },
  } as KubernetesNode);
}

function task(change: Partial<PrewarmTask['spec']> = {}, eligible = 3): PrewarmTask {
  const images = [{ image: 'docker.io/library/app:1', pullPolicy: 'IfNotPresent' as const }];
  const nodeRequirements = { nodeSelector: { pool: 'web' } };
  return {
    metadata: { name: 't', namespace: 'ns' },
    spec: { images, nodeRequirements, ...change },
    status: { nodes: { eligible, warm: eligible, warming: 0, failed: 0 } },
  };
}

function concerns({ before, after }: ChangedNode, of: PrewarmTask = task()): boolean {
  const others = [{ ...node({ images: { 'docker.io/library/app:1': GB } }), metadata: { name: 'other' } }];
  const sizes = createImageSizes([...others, ...(after ? [after] : [])]);
  const fits = compileNodeMatcher(of.spec.nodeRequirements ?? {});
  return concernOf({ before, after }, sizes)(interestOf(of, fits, sizes));
}

const APP = { 'docker.io/library/app:1': GB };
const BATCH = { labels: { pool: 'batch' } };
const CORDON = [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }];
const OWN_TAINT = [{ key: 'dedicated', effect: 'NoSchedule' }];

it.each<{ what: string; before?: Change; after?: Change; concerned: boolean }>([
  { what: 'a heartbeat', before: { beat: 't1' }, after: { beat: 't2' }, concerned: false },
  { what: 'a node that joins', after: {}, concerned: true },
  { what: 'a node that goes', before: {}, concerned: true },
  { what: 'one of another pool that joins', after: BATCH, concerned: false },
  { what: 'one of another pool that goes', before: BATCH, concerned: false },
  {
    what: 'one of another pool that is no longer ready',
    before: BATCH,
    after: { ...BATCH, ready: 'False' },
    concerned: false,
  },
  { what: 'a node that is no longer ready', before: {}, after: { ready: 'Unknown' }, concerned: true },
  { what: 'a node that comes to the pool', before: BATCH, after: {}, concerned: true },
  { what: 'a node that leaves the pool', before: {}, after: BATCH, concerned: true },
  { what: 'a cordon that is lifted', before: { taints: CORDON }, after: {}, concerned: true },
  {
    what: 'a taint on a node that nobody tolerates already',
    before: { taints: OWN_TAINT },
    after: { taints: [...OWN_TAINT, ...CORDON] },
    concerned: false,
  },
  { what: 'a taint that nobody tolerates', before: {}, after: { taints: OWN_TAINT }, concerned: true },
  { what: 'another image that arrives', before: {}, after: { images: { 'b:1': 5 } }, concerned: false },
  { what: 'its image that arrives', before: {}, after: { images: APP }, concerned: true },
  { what: 'its image that was collected', before: { images: APP }, after: {}, concerned: true },
  {
    what: 'its image on another pool, of another size',
    before: BATCH,
    after: { ...BATCH, images: { 'app:1': 7 } },
    concerned: true,
  },
  {
    what: 'space that was freed where it was short',
    before: { disk: '10G', images: { 'b:1': 7.5 * GB } },
    after: { disk: '10G' },
    concerned: true,
  },
  {
    what: 'space that was freed where there was enough',
    before: { disk: '100G', images: { 'b:1': 7.5 * GB } },
    after: { disk: '100G' },
    concerned: false,
  },
])('$what concerns a task: $concerned', ({ before, after, concerned }) => {
  const change = { before: before && node(before), after: after && node(after) };
  expect(concerns(change)).toBe(concerned);
});

it('takes for proven what a complete list no longer shows', () => {
  const long = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`i${index}:1`, 2 * GB]));
  expect(concerns({ before: node({ images: long(50) }), after: node({ images: long(49) }) })).toBe(true);
});

it.each<{ what: string; of: PrewarmTask }>([
  { what: 'who chooses among the nodes', of: task({ maxNodes: '1' }) },
  { what: 'who has no node yet, and tells why', of: task({}, 0) },
])('every change concerns $what, a heartbeat none', ({ of }) => {
  expect(concerns({ before: undefined, after: node(BATCH) }, of)).toBe(true);
  expect(concerns({ before: node({ beat: 't1' }), after: node({ beat: 't2' }) }, of)).toBe(false);
});
