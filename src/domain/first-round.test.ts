import { describe, expect, test } from 'vitest';
import { firstRound } from './first-round.ts';
import { createImageSizes } from './image-sizes.ts';
import { atOnce } from './in-parts.ts';
import type { KubernetesNode } from './kubernetes.ts';
import type { StrategyOptions } from './node-strategy.ts';
import { eligibleNodes, presenceBy } from './node-view.ts';
import type { PrewarmTask, PrewarmTaskSpec } from './prewarm-task.ts';

const STRATEGIES: StrategyOptions = { strategy: 'auto', workerImageLegacy: 'r.example/noop:1' };
const IMAGES: PrewarmTaskSpec['images'] = ['a', 'b'].map((name) => ({
  image: `r.example/${name}:1`,
  pullPolicy: 'IfNotPresent',
}));

function node(name: string, kubeletVersion = 'v1.36.0', images: string[] = []): KubernetesNode {
  return {
    metadata: { name },
    status: {
      nodeInfo: { kubeletVersion, containerRuntimeVersion: 'containerd://2.1.0' },
      images: images.map((image) => ({ names: [image], sizeBytes: 1 })),
    },
  };
}

function round(nodes: KubernetesNode[], spec: Partial<PrewarmTaskSpec> = {}, maxConcurrentPulls = 50) {
  const task: PrewarmTask = { metadata: { name: 't', uid: 'u' }, spec: { images: IMAGES, ...spec } };
  const eligible = atOnce(eligibleNodes(nodes, { fits: () => undefined, strategies: STRATEGIES }));
  const { batches, cold } = firstRound(task, eligible, {
    ...{ strategies: STRATEGIES, maxConcurrentPulls, presence: presenceBy(createImageSizes(nodes)) },
    nameOf: (batch) => `job-${batch}`,
  });
  return { cold, batches, sizes: batches.map((batch) => batch.nodes.length) };
}

function nodes(count: number): KubernetesNode[] {
  return Array.from({ length: count }, (_, index) => node(`n${String(index).padStart(4, '0')}`));
}

describe('firstRound', () => {
  test.each<[string, number, Partial<PrewarmTaskSpec>, number, number[]]>([
    ['starts with five and grows with what is warmed', 120, {}, 50, [5, 10, 20, 40, 45]],
    ['never takes more than a batch may hold', 160, {}, 50, [5, 10, 20, 40, 50, 35]],
    ['starts as wide as its user decided', 20, { concurrentPulls: 8 }, 50, [8, 8, 4]],
    ['never takes more than there are pull tokens', 10, {}, 4, [4, 4, 2]],
    ['has no batch without nodes', 0, {}, 50, []],
  ])('%s', (_what, count, spec, tokens, sizes) => {
    expect(round(nodes(count), spec, tokens).sizes).toEqual(sizes);
  });

  test('takes every cold node once, under the name of its batch', () => {
    const { batches, cold } = round(nodes(30));
    const names = batches.flatMap((batch) => batch.nodes);
    expect([names.length, new Set(names)]).toEqual([30, cold]);
    expect(batches.map(({ jobName, batch, round: number }) => [jobName, batch, number])).toEqual([
      ['job-1', 1, 1],
      ['job-2', 2, 1],
      ['job-3', 3, 1],
    ]);
  });

  test('leaves out nodes that have the images, and of the others what all of them have', () => {
    const { batches, cold } = round([
      node('has', 'v1.36.0', ['r.example/a:1', 'r.example/b:1']),
      node('half', 'v1.36.0', ['r.example/a:1']),
    ]);
    expect([...cold]).toEqual(['half']);
    expect(batches).toMatchObject([{ nodes: ['half'], images: [1] }]);
  });

  test('ends also where a status proves that the images were not there, later than the round begins', () => {
    const fresh = node('fresh', 'v1.36.0', ['r.example/other:1']);
    const conditions = [{ type: 'Ready', status: 'True', lastHeartbeatTime: '2026-01-01T00:00:00Z' }];
    const { batches } = round([{ ...fresh, status: { ...fresh.status, conditions } }]);
    expect(batches).toMatchObject([{ nodes: ['fresh'], images: [0, 1] }]);
  });

  test('has one strategy to a batch', () => {
    const { batches } = round([node('a'), node('b', 'v1.30.0'), node('c')]);
    expect(batches).toMatchObject([
      { strategy: 'image-volume', nodes: ['a', 'c'] },
      { strategy: 'injected-noop', nodes: ['b'] },
    ]);
  });

  test('has nothing to do without an image', () => {
    expect(round(nodes(3), { images: [] }).batches).toEqual([]);
  });
});
