import { describe, expect, it } from 'vitest';
import { createImageSizes } from './image-sizes.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { nodeKey, packNodes } from './node-set.ts';
import type { PrewarmTask, PrewarmTaskSpec } from './prewarm-task.ts';
import { compileRuntimeMatcher } from './runtime-class.ts';
import { compileTaskChoice, taskNodes, taskNodesInParts } from './task-nodes.ts';

const GB = 1e9;
const APP = 'docker.io/library/app:1';
const SINCE = '2026-01-01T00:00:00.000Z';

function node(name: string, there: { names: string[]; sizeBytes: number }[] = []): KubernetesNode {
  return {
    metadata: { name, uid: name },
    status: {
      images: there,
      capacity: { 'ephemeral-storage': '10G' },
      conditions: [{ type: 'Ready', status: 'True' }],
      nodeInfo: { kubeletVersion: 'v1.36.0', containerRuntimeVersion: 'containerd://2.1.0' },
    },
  };
}

const app = { names: [APP], sizeBytes: 3 * GB };
const full = { names: ['other:1'], sizeBytes: 7 * GB };

function eligible(
  nodes: KubernetesNode[],
  more: Partial<PrewarmTaskSpec> = {},
  status: PrewarmTask['status'] = {},
) {
  const spec: PrewarmTaskSpec = { images: [{ image: APP, pullPolicy: 'IfNotPresent' }], ...more };
  const { eligible: found, skipped } = taskNodes({
    ...{ task: { spec, status }, nodes, sizes: createImageSizes(nodes) },
    fits: compileRuntimeMatcher(spec.nodeRequirements ?? {}, undefined, undefined),
    choice: () => compileTaskChoice(spec, undefined),
    strategies: { strategy: 'auto', workerImageLegacy: '' },
  });
  return { names: found.map(({ metadata }) => metadata.name), skipped };
}

const reason = 'no room: 1 image of 3 GB and 7 GB there would pass 80 % of 10 GB ephemeral storage';

describe('the nodes of a task', () => {
  it.each<{
    what: string;
    there: KubernetesNode;
    spec?: Partial<PrewarmTaskSpec>;
    status?: PrewarmTask['status'];
    room: boolean;
  }>([
    { what: 'has no room', there: node('b', [full]), room: false },
    { what: 'lists the image', there: node('b', [app, full]), room: true },
    {
      what: 'lists an image that has to be pulled with secrets',
      there: node('b', [app, full]),
      spec: { imagePullSecrets: ['login'] },
      room: true,
    },
    {
      what: 'was warmed a moment ago, which its status does not tell yet',
      there: node('b', [full]),
      status: { warmed: [{ images: [0], since: SINCE, nodes: packNodes([nodeKey(node('b'))]) }] },
      // As long as its list is not newer than that.
      room: true,
    },
  ])('that $what: has room $room', ({ there, spec, status, room }) => {
    const { names, skipped } = eligible([node('a', [app]), there], spec, status);
    expect(names).toEqual(room ? ['a', 'b'] : ['a']);
    expect(skipped).toEqual(new Map(room ? [] : [['b', reason]]));
  });

  it('under a limit are others where one has no room', () => {
    const nodes = [node('a', [full]), node('b', [full]), node('c', [app])];
    expect(eligible(nodes, { maxNodes: '1' }).names).toEqual(['c']);
    expect(eligible(nodes, { maxNodes: '50%' }).names).toEqual(['c']);
  });

  it('under a limit stay those that are warm, and those that are getting there', () => {
    const nodes = [node('a'), node('b'), node('c', [app])];
    expect(eligible(nodes, { maxNodes: '1' }).names, 'c is warm').toEqual(['c']);
    const [a, b] = [node('a'), node('b')];
    expect(eligible([a, b], { maxNodes: '1' }).names, 'none is').toEqual(['a']);
    const open = { jobName: 'j', round: 1, batch: 1, attempt: 0, images: [0], startedAt: SINCE };
    const batches = [{ ...open, nodes: ['b'], keys: nodeKey(b) }];
    expect(eligible([a, b], { maxNodes: '1' }, { batches }).names, 'b pulls').toEqual(['b']);
  });

  it('under a limit stays one that has some of the images, when the others cannot be pulled', () => {
    const images = [APP, 'docker.io/library/gone:1'].map((image) => ({
      ...{ image, pullPolicy: 'IfNotPresent' as const },
    }));
    expect(eligible([node('a'), node('b', [app])], { maxNodes: '1', images }).names).toEqual(['b']);
  });

  it('under a limit are those that it prefers', () => {
    const preference = { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['c'] }] };
    const nodePreferences = { nodeAffinity: [{ weight: 1, preference }] };
    const nodes = [node('a'), node('b'), node('c')];
    expect(eligible(nodes, { maxNodes: '2', nodePreferences }).names).toEqual(['c', 'a']);
    expect(eligible(nodes, { nodePreferences }).names, 'without one').toEqual(['a', 'b', 'c']);
  });

  it('of thousands are found in parts', () => {
    const nodes = Array.from({ length: 2_000 }, (_, index) => node(`n${index}`));
    const seen = new Set<KubernetesNode>();
    const spec: PrewarmTaskSpec = { images: [{ image: APP, pullPolicy: 'IfNotPresent' }], maxNodes: '50%' };
    const work = taskNodesInParts({
      ...{ task: { spec }, nodes, sizes: createImageSizes(nodes) },
      ...{ fits: (each) => void seen.add(each), choice: () => compileTaskChoice(spec, undefined) },
      strategies: { strategy: 'auto', workerImageLegacy: '' },
    });
    let parts = 1;
    for (let step = work.next(); !step.done; step = work.next()) {
      if (parts === 1) expect(seen.size).toBeLessThan(1_000);
      parts += 1;
    }
    expect(seen.size).toBe(2_000);
    // Sifting, counting what each has, and the order.
    expect(parts).toBeGreaterThan(10);
  });
});
