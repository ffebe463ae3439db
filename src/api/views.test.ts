import { describe, expect, it } from 'vitest';
import { createImageSizes } from '../domain/image-sizes.ts';
import type { KubernetesNode } from '../domain/kubernetes.ts';
import { nodeKey, packNodes } from '../domain/node-set.ts';
import { presenceBy } from '../domain/node-view.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { nodeViews, taskView, workloadViews } from './views.ts';

const presence = presenceBy(createImageSizes());
const TIME = '2026-01-01T00:00:00.000Z';
const image = (name: string) => ({
  image: `docker.io/library/${name}:1`,
  pullPolicy: 'IfNotPresent' as const,
});

function task(more: Partial<PrewarmTask> = {}): PrewarmTask {
  return {
    metadata: { namespace: 'shop', name: 't', uid: 'u1', creationTimestamp: TIME },
    spec: { images: [image('a'), image('b')] },
    ...more,
  };
}

const OWNERS = [
  { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'u2' },
  { apiVersion: 'v1', kind: 'Pod', name: 'one', uid: 'u3' },
];

describe('a task', () => {
  it('that is new has every field that is not optional, with the defaults that count', () => {
    expect(taskView(task())).toEqual({
      ...{ namespace: 'shop', name: 't', uid: 'u1', createdAt: TIME, owners: [], cancelled: false },
      images: [image('a'), image('b')],
      ...{ priority: 5, timeoutSeconds: 1800 },
      retry: { limit: 3, strategy: 'exponential', delaySeconds: 10 },
      status: {
        phase: 'Pending',
        nodes: { eligible: 0, warm: 0, warming: 0, failed: 0 },
        round: 0,
        ...{ batches: [], failures: [], failureCount: 0, failedImages: [] },
      },
    });
  });

  it('that works tells its batches by image, its failures by node, and nothing of how IPS remembers', () => {
    const failure = { node: 'n1', image: image('a').image, reason: 'not found', message: 'm', time: TIME };
    const view = taskView(
      task({
        status: {
          ...{ phase: 'Warming', message: 'm', round: 2, startedAt: TIME, retryAt: TIME, failureCount: 1 },
          nodes: { eligible: 2, warm: 1, warming: 1, failed: 0 },
          failures: [failure],
          batches: [
            {
              ...{ jobName: 'j', round: 2, batch: 1, attempt: 0, keys: 'abcdef', startedAt: TIME },
              ...{ nodes: ['n1'], images: [1] },
            },
          ],
          warmed: [{ images: [0], since: TIME, nodes: 'abcdef' }],
          ...{ failedNodes: 'abcdef', spentNodes: 'abcdef' },
        },
      }),
    );
    expect(view.status).toMatchObject({ phase: 'Warming', message: 'm', retryAt: TIME, failures: [failure] });
    expect(view.status.batches).toEqual([
      {
        ...{ jobName: 'j', round: 2, batch: 1, attempt: 0, startedAt: TIME },
        ...{ nodes: ['n1'], images: [image('b').image] },
      },
    ]);
    expect(JSON.stringify(view)).not.toContain('abcdef');
  });
});

it('workloads are those that own a task, each with what the task says', () => {
  const owned = task({
    metadata: { namespace: 'shop', name: 't', ownerReferences: OWNERS },
    status: { phase: 'Warm', nodes: { eligible: 2, warm: 2, warming: 0, failed: 0 }, lastWarmedAt: TIME },
  });
  expect(workloadViews([owned, task()])).toEqual(
    OWNERS.map(({ apiVersion, kind, name }) => ({
      ...{ namespace: 'shop', apiVersion, kind, name, task: 't' },
      images: [image('a').image, image('b').image],
      status: {
        ...{ phase: 'Warm', lastWarmedAt: TIME },
        nodes: { eligible: 2, warm: 2, warming: 0, failed: 0 },
      },
    })),
  );
});

describe('a node', () => {
  const node = (name: string, images: string[], ready = 'True'): KubernetesNode => ({
    metadata: { name, uid: name },
    status: {
      conditions: [{ type: 'Ready', status: ready }],
      images: images.map((each) => ({ names: [image(each).image] })),
    },
  });

  it('tells which images of the tasks are on it, by its status or by what was warmed', async () => {
    const [n1, n2] = [node('n1', ['b', 'other']), node('n2', [])];
    const secret = task({
      spec: { images: [image('b'), image('c')], imagePullSecrets: ['login'] },
      status: { warmed: [{ images: [1], since: TIME, nodes: packNodes([nodeKey(n2)]) }] },
    });
    expect(await nodeViews([n1, n2], [task(), secret], presence)).toEqual([
      { name: 'n1', ready: true, images: [image('b').image] },
      { name: 'n2', ready: true, images: [image('c').image] },
    ]);
  });

  it('that takes no work now says why', async () => {
    expect(await nodeViews([node('n1', [], 'Unknown')], [], presence)).toEqual([
      { name: 'n1', ready: false, message: 'node is not ready', images: [] },
    ]);
  });

  it('is asked about without holding the event loop', async () => {
    const nodes = Array.from({ length: 100 }, (_, index) => node(`n${index}`, ['a']));
    const tasks = Array.from({ length: 500 }, () => task());
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 0);
    let over = false;
    const views = nodeViews(nodes, tasks, presence).finally(() => {
      over = true;
    });
    while (!over) await new Promise((resolve) => setImmediate(resolve));
    clearInterval(timer);
    expect((await views).every(({ images }) => images.length === 1)).toBe(true);
    expect(turns).toBeGreaterThan(0);
  });
});
