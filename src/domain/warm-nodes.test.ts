import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KubernetesNode } from './kubernetes.ts';
import { nodeKey } from './node-set.ts';
import type { PrewarmTaskSpec } from './prewarm-task.ts';
import type { PresenceOf } from './task-progress.ts';
import { warmNodes } from './warm-nodes.ts';

type Seen = ReturnType<PresenceOf>;

const WARMED = '2026-01-01T00:00:00.000Z';

function node(uid: string, heartbeat?: string): KubernetesNode {
  const ready = {
    type: 'Ready',
    status: 'True',
    ...(heartbeat ? { lastHeartbeatTime: heartbeat } : {}),
  };
  return {
    metadata: { name: `name-of-${uid}`, uid },
    status: { conditions: [{ type: 'DiskPressure', status: 'False' }, ready] },
  };
}

function spec(options: Partial<PrewarmTaskSpec> = {}): PrewarmTaskSpec {
  return {
    images: ['app:1', 'base:2', 'tool:3'].map((image) => ({ image, pullPolicy: 'IfNotPresent' })),
    ...options,
  };
}

const ALWAYS = spec({ images: [{ image: 'app:1', pullPolicy: 'Always' }] });
const SECRETS = spec({ imagePullSecrets: ['login'] });

const seen =
  (what: Seen): PresenceOf =>
  () =>
    what;

describe('what is on a node that the task did not warm', () => {
  it.each<{ what: string; task: PrewarmTaskSpec; seen: Seen; has: boolean }>([
    { what: 'an image in its list is there', task: spec(), seen: 'present', has: true },
    { what: 'an image that is absent is not', task: spec(), seen: 'absent', has: false },
    { what: 'an image that may be left out of the list is not', task: spec(), seen: 'unknown', has: false },
    { what: 'a tag that is pulled at every start may have moved', task: ALWAYS, seen: 'present', has: false },
    { what: 'pull secrets may not allow what others pulled', task: SECRETS, seen: 'present', has: false },
    {
      what: 'no pull secrets forbid nothing',
      task: spec({ imagePullSecrets: [] }),
      seen: 'present',
      has: true,
    },
  ])('$what', ({ task, seen: what, has }) => {
    const warm = warmNodes(task, [], seen(what));
    expect(warm.has(node('a'), 0)).toBe(has);
    expect(warm.records()).toEqual([]);
  });

  it('an image that the task does not have is nowhere', () => {
    expect(warmNodes(spec(), [], seen('present')).has(node('a'), 3)).toBe(false);
  });
});

describe('what is on a node that the task warmed', () => {
  const SOON = '2026-01-01T00:01:30.000Z';
  const LATE = '2026-01-01T00:01:30.001Z';

  it.each<{
    what: string;
    task: PrewarmTaskSpec;
    seen: Seen;
    heartbeat?: string;
    has: boolean;
    kept: boolean;
  }>([
    {
      what: 'is believed until the list shows it',
      task: spec(),
      seen: 'unknown',
      heartbeat: LATE,
      has: true,
      kept: true,
    },
    {
      what: 'need not be kept once the list shows it',
      task: spec(),
      seen: 'present',
      has: true,
      kept: false,
    },
    {
      what: 'is kept where a list is no proof: Always',
      task: ALWAYS,
      seen: 'present',
      has: true,
      kept: true,
    },
    {
      what: 'is kept where a list is no proof: secrets',
      task: SECRETS,
      seen: 'present',
      has: true,
      kept: true,
    },
    {
      what: 'is believed against a list that may be older',
      task: spec(),
      seen: 'absent',
      heartbeat: SOON,
      has: true,
      kept: true,
    },
    {
      what: 'is gone when a younger list lacks it',
      task: spec(),
      seen: 'absent',
      heartbeat: LATE,
      has: false,
      kept: false,
    },
    {
      what: 'is gone when a younger list lacks it: Always',
      task: ALWAYS,
      seen: 'absent',
      heartbeat: LATE,
      has: false,
      kept: false,
    },
    {
      what: 'is gone when a younger list lacks it: secrets',
      task: SECRETS,
      seen: 'absent',
      heartbeat: LATE,
      has: false,
      kept: false,
    },
    {
      what: 'is believed against a list without a time',
      task: spec(),
      seen: 'absent',
      has: true,
      kept: true,
    },
  ])('$what', ({ task, seen: what, heartbeat, has, kept }) => {
    const before = warmNodes(task, [], seen('unknown'));
    before.add(nodeKey(node('a')), [0], WARMED);
    const warm = warmNodes(task, before.records(), seen(what));
    const later = node('a', heartbeat);
    expect(warm.has(later, 0)).toBe(has);
    expect(warm.has(later, 0), 'asked again').toBe(has);
    expect(warm.records().length > 0).toBe(kept);
  });

  it('is told image by image, node by node', () => {
    const warm = warmNodes(spec(), [], seen('unknown'));
    warm.add(nodeKey(node('a')), [0, 2], WARMED);
    const has = (uid: string) => [0, 1, 2].map((image) => warm.has(node(uid), image));
    expect(has('a')).toEqual([true, false, true]);
    expect(has('b')).toEqual([false, false, false]);
  });

  it('stays with the other images when one is gone', () => {
    const presence: PresenceOf = (_, image) => (image === 'base:2' ? 'absent' : 'unknown');
    const warm = warmNodes(spec(), [], presence);
    warm.add(nodeKey(node('a')), [0, 1, 2], WARMED);
    const late = node('a', LATE);
    expect([0, 1, 2].map((image) => warm.has(late, image))).toEqual([true, false, true]);
    expect(warm.records()).toMatchObject([{ images: [0, 2], since: WARMED }]);
  });

  it('is another node that comes back under its old name', () => {
    const warm = warmNodes(spec(), [], seen('unknown'));
    warm.add(nodeKey(node('a')), [0], WARMED);
    expect(warm.has({ ...node('b'), metadata: { name: 'name-of-a', uid: 'b' } }, 0)).toBe(false);
  });
});

describe('records', () => {
  const LATER = '2026-01-02T00:00:00.000Z';

  it('put nodes with the same images together, dated by the latest of them', () => {
    const warm = warmNodes(spec(), [], seen('unknown'));
    warm.add(nodeKey(node('a')), [1, 0], WARMED);
    warm.add(nodeKey(node('b')), [0], WARMED);
    warm.add(nodeKey(node('c')), [0, 1], LATER);
    const records = warm.records();
    expect(records).toEqual([
      { images: [0, 1], since: LATER, nodes: expect.stringMatching(/^[\w-]{12}$/) },
      { images: [0], since: WARMED, nodes: expect.stringMatching(/^[\w-]{6}$/) },
    ]);
  });

  it('take what comes to a node later to what was there, and its time', () => {
    const warm = warmNodes(spec(), [], seen('unknown'));
    warm.add(nodeKey(node('a')), [0], LATER);
    warm.add(nodeKey(node('a')), [2], WARMED);
    warm.add(nodeKey(node('b')), [0], WARMED);
    warm.add(nodeKey(node('b')), [1], LATER);
    expect(warm.records()).toMatchObject([
      { images: [0, 2], since: LATER },
      { images: [0, 1], since: LATER },
    ]);
  });

  it('leave out nodes that are no more', () => {
    const warm = warmNodes(spec(), [], seen('unknown'));
    warm.add(nodeKey(node('a')), [0], WARMED);
    warm.add(nodeKey(node('b')), [0], WARMED);
    warm.add(nodeKey(node('c')), [1], WARMED);
    const known = new Set([nodeKey(node('a'))]);
    expect(warm.records(known)).toEqual([{ images: [0], since: WARMED, nodes: nodeKey(node('a')) }]);
    expect(warm.records()).toHaveLength(2);
    expect(warm.records(new Set())).toEqual([]);
  });

  it('are the same whenever they are read and written, and say the same', () => {
    const uid = fc.stringMatching(/^[a-z]{1,2}$/);
    const images = fc.uniqueArray(fc.nat({ max: 2 }), { minLength: 1 });
    const time = fc.constantFrom(WARMED, LATER);
    fc.assert(
      fc.property(fc.array(fc.tuple(uid, images, time)), (added) => {
        const first = warmNodes(spec(), [], seen('unknown'));
        for (const [each, brought, since] of added) first.add(nodeKey(node(each)), brought, since);
        const records = JSON.parse(JSON.stringify(first.records()));
        const second = warmNodes(spec(), records, seen('unknown'));
        expect(second.records()).toEqual(records);
        for (const [each, brought] of added)
          for (const image of brought) expect(second.has(node(each), image)).toBe(true);
      }),
    );
  });

  it('hold five thousand nodes in 32 kB', () => {
    const warm = warmNodes(spec(), [], seen('unknown'));
    for (let index = 0; index < 5000; index += 1) warm.add(nodeKey(node(`uid-${index}`)), [0, 1, 2], WARMED);
    expect(JSON.stringify(warm.records()).length).toBeLessThan(32_000);
  });
});
