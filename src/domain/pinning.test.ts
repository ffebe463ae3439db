import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Pod } from './kubernetes.ts';
import { pinWarmer } from './pinning.ts';

const WARMER = { 'ips/warmer': 'true' };
const INDEX = 'batch.kubernetes.io/job-completion-index';

function warmer(index: string | undefined, nodes: string | undefined, spec: Pod['spec'] = {}): Pod {
  return {
    metadata: {
      labels: { ...WARMER, ...(index === undefined ? {} : { [INDEX]: index }) },
      annotations: { other: 'stays', ...(nodes === undefined ? {} : { 'ips/nodes': nodes }) },
    },
    spec,
  };
}

/** What the API server makes of a pod with these two operations. */
function pinned(pod: Pod, nodeName: string): Pod {
  const { 'ips/nodes': _, ...annotations } = pod.metadata.annotations ?? {};
  return { ...pod, metadata: { ...pod.metadata, annotations }, spec: { ...pod.spec, nodeName } };
}

describe('pinWarmer', () => {
  it.each<{ index: string; node: string }>([
    { index: '0', node: 'node-a' },
    { index: '1', node: 'node-b.example' },
    { index: '2', node: 'node-c' },
  ])('pins index $index to $node, and takes the list away', ({ index, node }) => {
    expect(pinWarmer(warmer(index, 'node-a,node-b.example,node-c'))).toEqual({
      ok: true,
      patch: [
        { op: 'add', path: '/spec/nodeName', value: node },
        { op: 'remove', path: '/metadata/annotations/ips~1nodes' },
      ],
    });
  });

  it('reads the index from the annotation where the label is missing', () => {
    const pod = warmer(undefined, 'node-a,node-b');
    pod.metadata.annotations = { ...pod.metadata.annotations, [INDEX]: '1' };
    expect(pinWarmer(pod)).toMatchObject({ ok: true, patch: [{ value: 'node-b' }, {}] });
  });

  it('repeats what the pod has already', () => {
    expect(pinWarmer(warmer('0', 'node-a', { nodeName: 'node-a' }))).toMatchObject({
      ok: true,
      patch: [{ value: 'node-a' }, {}],
    });
  });

  it.each<{ what: string; pod: Pod; reason: string }>([
    {
      what: 'is no warmer',
      pod: { metadata: {}, spec: {} },
      reason: 'the pod has no label ips/warmer=true',
    },
    {
      what: 'says that it is no warmer',
      pod: { metadata: { labels: { 'ips/warmer': 'false' }, annotations: { 'ips/nodes': 'node-a' } } },
      reason: 'the pod has no label ips/warmer=true',
    },
    {
      what: 'has neither a node nor a list',
      pod: warmer('0', undefined),
      reason: 'the warmer has neither a node nor the annotation ips/nodes',
    },
    {
      what: 'has no spec at all',
      pod: { metadata: { labels: WARMER } },
      reason: 'the warmer has no spec',
    },
    {
      what: 'has no index',
      pod: warmer(undefined, 'node-a'),
      reason: `the warmer has no valid ${INDEX}: undefined`,
    },
    {
      what: 'has an index that is no number',
      pod: warmer('1e1', 'node-a'),
      reason: `the warmer has no valid ${INDEX}: "1e1"`,
    },
    {
      what: 'has a negative index',
      pod: warmer('-1', 'node-a'),
      reason: `the warmer has no valid ${INDEX}: "-1"`,
    },
    {
      what: 'has an empty index',
      pod: warmer('', 'node-a'),
      reason: `the warmer has no valid ${INDEX}: ""`,
    },
    {
      what: 'has an index behind the list',
      pod: warmer('2', 'node-a,node-b'),
      reason: 'completion index 2 has no node in the annotation ips/nodes',
    },
    {
      what: 'has an empty place in the list',
      pod: warmer('1', 'node-a,,node-c'),
      reason: 'completion index 1 has no node in the annotation ips/nodes',
    },
    {
      what: 'has an empty list',
      pod: warmer('0', ''),
      reason: 'completion index 0 has no node in the annotation ips/nodes',
    },
    {
      what: 'is on another node',
      pod: warmer('0', 'node-a', { nodeName: 'node-b' }),
      reason: 'the warmer is already on node "node-b", not node-a',
    },
    {
      what: 'names a node that is none',
      pod: warmer('0', 'node a'),
      reason: '"node a" is not the name of a node',
    },
    {
      what: 'is hostile in all that is read',
      pod: {
        metadata: { labels: { ...WARMER, [INDEX]: 0 }, annotations: { 'ips/nodes': 'node-a' } },
        spec: {},
      } as never,
      reason: `the warmer has no valid ${INDEX}: undefined`,
    },
    {
      what: 'has a spec that is none',
      pod: { metadata: { labels: WARMER, annotations: 7 }, spec: [] } as never,
      reason: 'the warmer has no spec',
    },
  ])('refuses a pod that $what', ({ pod, reason }) => {
    expect(pinWarmer(pod)).toEqual({ ok: false, reason });
  });

  it('never lets a pod through without a node, and changes nothing when it is asked again', () => {
    const nodes = fc.array(fc.constantFrom('a', 'b', ''), { maxLength: 4 }).map((list) => list.join(','));
    fc.assert(
      fc.property(
        fc.option(fc.oneof(fc.nat({ max: 5 }).map(String), fc.string()), { nil: undefined }),
        fc.option(nodes, { nil: undefined }),
        fc.constantFrom({}, { nodeName: 'a' }),
        (index, list, spec) => {
          const pod = warmer(index, list, spec);
          const pinning = pinWarmer(pod);
          if (!pinning.ok) return;
          const [add] = pinning.patch;
          const nodeName = add?.op === 'add' ? String(add.value) : (pod.spec?.nodeName ?? '');
          expect(nodeName).not.toBe('');
          expect(pinWarmer(pinned(pod, nodeName))).toEqual({ ok: true, patch: [] });
        },
      ),
    );
  });
});
