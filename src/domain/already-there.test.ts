import { describe, expect, it } from 'vitest';
import { normalizeImage } from './image-reference.ts';
import { createImageSizes } from './image-sizes.ts';
import type { ContainerImage, KubernetesNode } from './kubernetes.ts';
import { nodeKey, packNodes } from './node-set.ts';
import { presenceBy } from './node-view.ts';
import type { PrewarmTaskSpec } from './prewarm-task.ts';
import { warmNodes } from './warm-nodes.ts';

/** When an image counts as there already, from a node's status as a kubelet writes it to the answer; docs/nodes.md. */

const MB = 1_000_000;
const DIGEST = `sha256:${'a1'.repeat(32)}`;
const OTHER_DIGEST = `sha256:${'b2'.repeat(32)}`;
const TAG = 'registry.example/shop/app:1.2';
const PINNED = `registry.example/shop/app@${DIGEST}`;
const BOTH = `registry.example/shop/app:1.2@${DIGEST}`;

const WARMED = '2026-01-01T00:00:00Z';
const SOON = '2026-01-01T00:01:00Z';
const LATER = '2026-01-01T00:05:00Z';

/** What a node lists of this image: by digest and by tag. */
const app = (tag = '1.2', digest = DIGEST): ContainerImage => ({
  names: [`registry.example/shop/app@${digest}`, `registry.example/shop/app:${tag}`],
  sizeBytes: 80 * MB,
});
/** The largest first, as the kubelet sorts them; the last has `least`. */
const others = (count: number, least: number): ContainerImage[] =>
  Array.from({ length: count }, (_, index) => ({
    names: [`registry.example/other-${index}:1`],
    sizeBytes: least + (count - 1 - index) * MB,
  }));
const fiveNames: ContainerImage = {
  names: [1, 2, 3, 4, 5].map((tag) => `registry.example/base:${tag}`),
  sizeBytes: 90 * MB,
};

type Case = {
  what: string;
  listed: ContainerImage[] | undefined;
  image?: string;
  always?: true;
  secrets?: true;
  /** Other nodes list the image, so that its size is known: 80 MB. */
  sizeKnown?: true;
  /** Of a node that this task warmed before; `LATER` than its list may be old. */
  warmedAndSeen?: typeof SOON | typeof LATER;
  there: boolean;
};

function isThere({ listed, image = TAG, always, secrets, sizeKnown, warmedAndSeen }: Case): boolean {
  const node: KubernetesNode = {
    metadata: { name: 'n', uid: 'u' },
    status: {
      ...(listed ? { images: listed } : {}),
      conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: warmedAndSeen ?? LATER }],
    },
  };
  const elsewhere: KubernetesNode = { metadata: { name: 'other' }, status: { images: [app()] } };
  const spec: PrewarmTaskSpec = {
    images: [{ image: normalizeImage(image) ?? '', pullPolicy: always ? 'Always' : 'IfNotPresent' }],
    ...(secrets ? { imagePullSecrets: ['login'] } : {}),
  };
  const record = { images: [0], since: WARMED, nodes: packNodes([nodeKey(node)]) };
  const sizes = createImageSizes(sizeKnown ? [node, elsewhere] : [node]);
  return warmNodes(spec, warmedAndSeen ? [record] : [], presenceBy(sizes)).has(node, 0);
}

describe('an image is there', () => {
  it.each<Case>([
    // Presence is proof.
    { what: 'its tag is listed', listed: [app()], there: true },
    { what: 'its tag is listed among 80', listed: [...others(79, 90 * MB), app()], there: true },
    { what: 'its digest is listed', listed: [app('9')], image: PINNED, there: true },
    {
      what: 'its digest is listed, its tag with another',
      listed: [app('9'), app('1.2', OTHER_DIGEST)],
      image: PINNED,
      there: true,
    },
    {
      what: 'its digest is listed, and a tag is asked for beside it',
      listed: [app('9')],
      image: BOTH,
      there: true,
    },
    // Of what is listed, only the very same.
    { what: 'a longer tag is listed', listed: [app('1.20')], there: false },
    { what: 'a shorter tag is listed', listed: [app('1')], there: false },
    { what: 'another digest is listed', listed: [app('1.2', OTHER_DIGEST)], image: PINNED, there: false },
    {
      what: 'only its tag is listed, and a digest is asked for too',
      listed: [{ names: [TAG], sizeBytes: 80 * MB }],
      image: BOTH,
      there: false,
    },
    { what: 'the node tells nothing', listed: undefined, there: false },
    // Presence that is no proof.
    { what: 'it is listed, but pulled at every start', listed: [app()], always: true, there: false },
    { what: 'it is listed, but is for those with a secret', listed: [app()], secrets: true, there: false },
    // What this task brought there stays, until its absence is proved.
    { what: 'it was brought with Always', listed: [app()], always: true, warmedAndSeen: LATER, there: true },
    {
      what: 'it was brought with secrets',
      listed: [app()],
      secrets: true,
      warmedAndSeen: LATER,
      there: true,
    },
    {
      what: 'it was brought, and a full list is without it',
      listed: others(50, 10 * MB),
      warmedAndSeen: LATER,
      there: true,
    },
    {
      what: 'it was brought, and the list may be older',
      listed: others(3, 10 * MB),
      warmedAndSeen: SOON,
      there: true,
    },
    {
      what: 'it was brought, and 49 are listed without it',
      listed: others(49, 10 * MB),
      warmedAndSeen: LATER,
      there: false,
    },
    {
      what: 'it was brought with secrets, and 49 are listed without it',
      listed: others(49, 10 * MB),
      secrets: true,
      warmedAndSeen: LATER,
      there: false,
    },
    {
      what: 'it was brought, and a full list of smaller ones is without it',
      listed: others(50, 10 * MB),
      sizeKnown: true,
      warmedAndSeen: LATER,
      there: false,
    },
    {
      what: 'it was brought, and a full list of larger ones is without it',
      listed: others(50, 80 * MB),
      sizeKnown: true,
      warmedAndSeen: LATER,
      there: true,
    },
    {
      what: 'it was brought, and a full list of smaller ones may be older',
      listed: others(50, 10 * MB),
      sizeKnown: true,
      warmedAndSeen: SOON,
      there: true,
    },
    {
      what: 'it was brought, and a listed image may have it for its sixth name',
      listed: [fiveNames],
      sizeKnown: true,
      warmedAndSeen: LATER,
      there: true,
    },
    {
      what: 'it was brought, and the node tells nothing',
      listed: undefined,
      sizeKnown: true,
      warmedAndSeen: LATER,
      there: true,
    },
  ])('where $what: $there', (row) => {
    expect(isThere(row)).toBe(row.there);
  });

  it('and gone where it was the last: its size is remembered of when it was listed', () => {
    const before: KubernetesNode = {
      metadata: { name: 'n', uid: 'u' },
      status: { images: [app(), ...others(49, 10 * MB)] },
    };
    const after: KubernetesNode = {
      ...before,
      status: {
        images: others(50, 10 * MB),
        conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: LATER }],
      },
    };
    const sizes = createImageSizes([before]);
    sizes.replace(before, after);
    const record = { images: [0], since: WARMED, nodes: packNodes([nodeKey(before)]) };
    const spec: PrewarmTaskSpec = { images: [{ image: TAG, pullPolicy: 'IfNotPresent' }] };
    expect(warmNodes(spec, [record], presenceBy(sizes)).has(after, 0)).toBe(false);
  });
});
