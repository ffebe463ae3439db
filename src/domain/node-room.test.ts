import { describe, expect, it } from 'vitest';
import { createImageSizes } from './image-sizes.ts';
import type { KubernetesNode } from './kubernetes.ts';
import { factsOf } from './node-facts.ts';
import { compileRoom } from './node-room.ts';

const GB = 1e9;
const IMAGES = [{ image: 'docker.io/library/a:1' }, { image: 'docker.io/library/b:1' }, { image: 'c:1' }];

function node(
  there: number[],
  disk: Record<string, string> = { 'ephemeral-storage': '40G' },
): KubernetesNode {
  const images = there.map((sizeBytes, index) => ({ names: [`registry.example/x-${index}:1`], sizeBytes }));
  return { metadata: { name: 'n' }, status: { images, capacity: disk } };
}

const told = (sizes: Record<string, number>) =>
  createImageSizes(
    Object.entries(sizes).map(([name, sizeBytes]) => ({
      metadata: { name },
      status: { images: [{ names: [name], sizeBytes }] },
    })),
  );

describe('compileRoom', () => {
  const sizes = told({ 'a:1': 1.2 * GB, 'b:1': 2 * GB, 'c:1': 1 * GB });

  it.each<{ what: string; node: KubernetesNode; has?: number[]; reason: string | undefined }>([
    { what: 'that stays under 80 % with all that comes', node: node([20 * GB, 7.8 * GB]), reason: undefined },
    {
      what: 'that would pass it',
      node: node([20 * GB, 11 * GB]),
      reason: 'no room: 3 images of 4.2 GB and 31 GB there would pass 80 % of 40 GB ephemeral storage',
    },
    { what: 'that has some of the images', node: node([29 * GB]), has: [1], reason: undefined },
    {
      what: 'that has some, and no room for the rest',
      node: node([31 * GB]),
      has: [1, 2],
      reason: 'no room: 1 image of 1.2 GB and 31 GB there would pass 80 % of 40 GB ephemeral storage',
    },
    { what: 'that is full, but has them all', node: node([39 * GB]), has: [0, 1, 2], reason: undefined },
    { what: 'that does not tell of its disk', node: node([99 * GB], {}), reason: undefined },
    {
      what: 'that writes its disk in another unit',
      node: node([], { 'ephemeral-storage': '4Mi' }),
      reason: 'no room: 3 images of 4.2 GB and 0 B there would pass 80 % of 4.2 MB ephemeral storage',
    },
  ])('of a node $what', ({ node: asked, has = [], reason }) => {
    expect(compileRoom(IMAGES, sizes, (_, index) => has.includes(index))(asked)).toBe(reason);
  });

  it('takes what pods may use where a node tells nothing else', () => {
    const asked: KubernetesNode = {
      metadata: { name: 'n' },
      status: { allocatable: { 'ephemeral-storage': '1G' } },
    };
    expect(compileRoom(IMAGES, sizes, () => false)(asked)).toMatch(/80 % of 1 GB/);
  });

  it('counts nothing for an image whose size no node tells', () => {
    const some = told({ 'a:1': 1 * GB });
    expect(compileRoom(IMAGES, some, () => false)(node([31 * GB]))).toBeUndefined();
    expect(compileRoom(IMAGES, some, () => false)(node([31.5 * GB]))).toMatch(/^no room: 1 image of 1 GB/);
    expect(compileRoom(IMAGES, some, () => false)(node([39 * GB]))).toMatch(/^no room: 1 image of 1 GB/);
    expect(compileRoom(IMAGES, told({}), () => false)(node([39 * GB])), 'none is known').toBeUndefined();
  });

  it('takes the largest size that is told', () => {
    const several = createImageSizes();
    for (const sizeBytes of [1 * GB, 3 * GB])
      several.replace(undefined, {
        metadata: {},
        status: { images: [{ names: ['a:1'], sizeBytes }] },
      });
    expect(compileRoom(IMAGES, several, () => false)(node([30 * GB]))).toMatch(/^no room: 1 image of 3 GB/);
  });
});

describe('what is free of the disk', () => {
  it.each<{ what: string; node: KubernetesNode; free: number }>([
    { what: 'with images', node: node([20 * GB]), free: 12 * GB },
    { what: 'that is full', node: node([35 * GB]), free: 0 },
    { what: 'that tells of no disk', node: node([GB], {}), free: 0 },
  ])('of a node $what', ({ node: asked, free }) => {
    expect(factsOf(asked).freeBytes).toBe(free);
  });
});
