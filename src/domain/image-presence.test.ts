import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { imagePresence, indexNodeImages, type Presence } from './image-presence.ts';
import type { ContainerImage, KubernetesNode } from './kubernetes.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}`;
const OTHER_DIGEST = `sha256:${'b2'.repeat(32)}`;
const APP = 'docker.io/library/app:1.2';
const MB = 1_000_000;

function nodeWith(images?: ContainerImage[]): KubernetesNode {
  return { metadata: { name: 'n1' }, status: images === undefined ? {} : { images } };
}

/** A list of other images, from the largest to the smallest as the kubelet sorts it: the last has `smallest` bytes. */
function otherImages(count: number, smallest = 10 * MB): ContainerImage[] {
  return Array.from({ length: count }, (_, index) => ({
    names: [`registry.k8s.io/other-${index}@${OTHER_DIGEST}`, `registry.k8s.io/other-${index}:v1`],
    sizeBytes: smallest + (count - 1 - index) * MB,
  }));
}

function presence(images: ContainerImage[] | undefined, canonical = APP, sizeBytes?: number): Presence {
  return imagePresence(indexNodeImages(nodeWith(images)), canonical, () => sizeBytes);
}

describe('imagePresence', () => {
  describe('takes a listed name for proof', () => {
    it.each<{ does: string; names: string[]; canonical: string }>([
      { does: 'finds a tag', names: [APP], canonical: APP },
      {
        does: 'finds a tag behind a digest',
        names: [`docker.io/library/app@${DIGEST}`, APP],
        canonical: APP,
      },
      {
        does: 'finds a digest',
        names: [`docker.io/library/app@${DIGEST}`, APP],
        canonical: `docker.io/library/app@${DIGEST}`,
      },
      { does: 'finds the familiar name that cri-dockerd lists', names: ['app:1.2'], canonical: APP },
      { does: 'finds the legacy registry', names: ['index.docker.io/library/app:1.2'], canonical: APP },
      {
        does: 'finds a name behind one that is no reference',
        names: ['<none>@<none>', '<none>:<none>', APP],
        canonical: APP,
      },
      { does: 'finds the second of several tags', names: ['app:1', 'app:1.2', 'app:latest'], canonical: APP },
    ])('$does', ({ names, canonical }) => {
      expect(presence([...otherImages(3), { names, sizeBytes: MB }], canonical)).toBe('present');
    });

    it('even in a full list, and whatever size is told', () => {
      expect(presence([...otherImages(49), { names: [APP], sizeBytes: MB }], APP, 900 * MB)).toBe('present');
    });
  });

  describe('does not take one image for another', () => {
    it.each<{ does: string; names: string[]; canonical: string }>([
      { does: 'a tag that begins with the tag', names: ['docker.io/library/app:1.20'], canonical: APP },
      { does: 'a tag that is the beginning of the tag', names: ['docker.io/library/app:1'], canonical: APP },
      { does: 'the same name in another registry', names: ['quay.io/library/app:1.2'], canonical: APP },
      { does: 'the same name in another namespace', names: ['docker.io/team/app:1.2'], canonical: APP },
      { does: 'the tag under another name', names: ['docker.io/library/myapp:1.2'], canonical: APP },
      {
        does: 'another digest',
        names: [`docker.io/library/app@${OTHER_DIGEST}`],
        canonical: `docker.io/library/app@${DIGEST}`,
      },
      {
        does: 'the digest under another name',
        names: [`quay.io/library/app@${DIGEST}`],
        canonical: `docker.io/library/app@${DIGEST}`,
      },
      { does: 'a name that is no reference', names: ['<none>@<none>'], canonical: '<none>@<none>' },
      { does: 'a property that every object has', names: [], canonical: 'constructor' },
    ])('$does', ({ names, canonical }) => {
      expect(presence([{ names, sizeBytes: MB }], canonical)).toBe('absent');
    });
  });

  describe('proves absence only where the kubelet would have listed the image', () => {
    it.each<{ does: string; images: ContainerImage[] | undefined; sizeBytes?: number; expected: Presence }>([
      { does: 'a node that lists nothing is not known', images: undefined, expected: 'unknown' },
      { does: 'nor for an image of any size', images: undefined, sizeBytes: 9e12, expected: 'unknown' },
      { does: 'an empty list is complete', images: [], expected: 'absent' },
      { does: 'a list of 49 is complete', images: otherImages(49), expected: 'absent' },
      {
        does: 'a list of 49 is complete for small images',
        images: otherImages(49),
        sizeBytes: 1,
        expected: 'absent',
      },
      {
        does: 'a list of 50 may have left out an image of unknown size',
        images: otherImages(50),
        expected: 'unknown',
      },
      {
        does: 'a list of 50 leaves out no larger image',
        images: otherImages(50),
        sizeBytes: 10 * MB + 1,
        expected: 'absent',
      },
      {
        does: 'a list of 50 may leave out an image as large as its last',
        images: otherImages(50),
        sizeBytes: 10 * MB,
        expected: 'unknown',
      },
      {
        does: 'a list of 50 may leave out a smaller image',
        images: otherImages(50),
        sizeBytes: 10 * MB - 1,
        expected: 'unknown',
      },
      { does: 'a longer list may be cut as well', images: otherImages(80), expected: 'unknown' },
      {
        does: 'a longer list leaves out no larger image',
        images: otherImages(80),
        sizeBytes: 11 * MB,
        expected: 'absent',
      },
    ])('$does', ({ images, sizeBytes, expected }) => {
      expect(presence(images, APP, sizeBytes)).toBe(expected);
    });

    it('compares with the smallest image wherever it stands in the list', () => {
      expect(presence(otherImages(50).reverse(), APP, 10 * MB + 1)).toBe('absent');
    });

    it('takes a size that is not told for no size', () => {
      const images = [...otherImages(49), { names: ['unsized:1'] }, { names: ['empty:1'], sizeBytes: 0 }];
      expect(presence(images, APP, 10 * MB + 1)).toBe('absent');
      expect(presence(images, APP, 10 * MB)).toBe('unknown');
      expect(presence(Array(50).fill({ names: ['unsized:1'] }), APP, 9e12)).toBe('unknown');
    });

    it('trusts no absence where a listed image may have more names than are listed', () => {
      const tags = [1, 2, 3, 4].map((tag) => `docker.io/library/base:${tag}`);
      const fourNames = { names: tags, sizeBytes: MB };
      const fiveNames = { names: [`docker.io/library/base@${DIGEST}`, ...tags], sizeBytes: MB };
      expect(presence([fourNames])).toBe('absent');
      expect(presence([fiveNames])).toBe('unknown');
      expect(presence([...otherImages(50), fiveNames], APP, 900 * MB)).toBe('unknown');
      expect(presence([fiveNames], 'docker.io/library/base:4')).toBe('present');
    });

    it('reads a node without status, and an image without names', () => {
      expect(imagePresence(indexNodeImages({ metadata: {} }), APP, () => 9e12)).toBe('unknown');
      expect(presence([{ sizeBytes: MB }])).toBe('absent');
    });
  });

  it('finds every image that a list names, and none that it does not name, however the names are spelled', () => {
    const tag = fc.stringMatching(/^[a-z0-9]{1,3}$/);
    const spelling = fc.constantFrom('', 'library/', 'docker.io/', 'docker.io/library/', 'index.docker.io/');
    const listed = fc.array(fc.record({ tag, spelling }), { maxLength: 40 });
    fc.assert(
      fc.property(listed, tag, (names, wanted) => {
        const images = names.map(({ tag, spelling }) => ({
          names: [`${spelling}app:${tag}`],
          sizeBytes: MB,
        }));
        const expected = names.some(({ tag }) => tag === wanted) ? 'present' : 'absent';
        expect(presence(images, `docker.io/library/app:${wanted}`)).toBe(expected);
      }),
    );
  });
});

describe('indexNodeImages', () => {
  it('tells the size of each image under each of its names', () => {
    const { sizes } = indexNodeImages(
      nodeWith([
        { names: [`app@${DIGEST}`, 'app:1.2'], sizeBytes: 7 },
        { names: ['unsized:1', '<none>@<none>'] },
      ]),
    );
    expect(Object.fromEntries(sizes)).toEqual({
      [`docker.io/library/app@${DIGEST}`]: 7,
      [APP]: 7,
      'docker.io/library/unsized:1': 0,
    });
  });

  it('answers the same when a name comes again, also after more names than it remembers', () => {
    const before = indexNodeImages(nodeWith([{ names: ['app:1.2', '<none>@<none>'] }]));
    const many = Array.from({ length: 25_000 }, (_, index) => ({ names: [`many:${index}`] }));
    expect(indexNodeImages(nodeWith(many)).sizes.size).toBe(25_000);
    expect(indexNodeImages(nodeWith([{ names: ['app:1.2', '<none>@<none>'] }]))).toEqual(before);
  });
});
