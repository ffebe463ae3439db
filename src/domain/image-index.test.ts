import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createImageIndex } from './image-index.ts';
import { createImageSizes } from './image-sizes.ts';
import type { ContainerImage, KubernetesNode } from './kubernetes.ts';
import { presenceBy } from './node-view.ts';
import type { PresenceOf } from './task-progress.ts';

const IMAGES = ['a:1', 'docker.io/library/a:1', 'a:2', 'b', 'B', 'not an image'];
const image: fc.Arbitrary<ContainerImage> = fc.record(
  { names: fc.array(fc.constantFrom(...IMAGES), { maxLength: 3 }), sizeBytes: fc.constantFrom(0, 1, 5, 9) },
  { requiredKeys: [] },
);
/** As long as the kubelet makes it at most, where the list is to prove no more than sizes. */
const images = fc.oneof(
  fc.array(image, { maxLength: 3 }),
  fc
    .tuple(image, image)
    .map(([one, other]) => [...Array<ContainerImage>(49).fill({ sizeBytes: 4 }), one, other]),
);
const step = fc.record({ name: fc.integer({ min: 0, max: 70 }), images: fc.option(images, { freq: 4 }) });

it('answers as the lists of the nodes do, whatever came and went before', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const sizes = createImageSizes();
      const index = createImageIndex(sizes);
      const plain = presenceBy(sizes);
      const nodes = new Map<number, KubernetesNode | undefined>();
      for (const { name, images: listed } of steps) {
        const before = nodes.get(name);
        const after = listed ? { metadata: { name: `n${name}` }, status: { images: listed } } : undefined;
        sizes.replace(before, after);
        index.replace(before, after);
        nodes.set(name, after);
        const all = [...nodes.values(), before].filter((node) => node !== undefined);
        const answers = (presence: PresenceOf) =>
          all.map((node) => IMAGES.map((asked) => presence(node, asked)));
        expect(answers(index.presence)).toEqual(answers(plain));
        const present = answers(plain).map((each) => each.filter((seen) => seen === 'present').length);
        expect(index.listed(all, IMAGES)).toEqual(present);
      }
    }),
    { numRuns: 100 },
  );
});
