import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createImageSizes } from './image-sizes.ts';
import type { KubernetesNode } from './kubernetes.ts';

const A = 'docker.io/library/a:1';
const B = 'docker.io/library/b:1';

function node(images: Record<string, number | undefined>): KubernetesNode {
  const list = Object.entries(images).map(([name, sizeBytes]) => ({
    names: [name],
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  }));
  return { metadata: { name: 'n' }, status: { images: list } };
}

describe('image sizes', () => {
  it('are those that any node tells, under the canonical name', () => {
    const sizes = createImageSizes([node({ 'a:1': 5 }), node({ [B]: 7 })]);
    expect(sizes.rangeOf(A)).toEqual({ smallest: 5, largest: 5 });
    expect(sizes.rangeOf(B)).toEqual({ smallest: 7, largest: 7 });
    expect(sizes.rangeOf('docker.io/library/c:1')).toBeUndefined();
  });

  it('are a range where nodes tell several: a tag moved, or they are of several architectures', () => {
    const before = node({ [A]: 5 });
    const sizes = createImageSizes([before, node({ [A]: 9 })]);
    expect(sizes.rangeOf(A)).toEqual({ smallest: 5, largest: 9 });
    sizes.replace(before, node({ [A]: 9 }));
    expect(sizes.rangeOf(A)).toEqual({ smallest: 9, largest: 9 });
  });

  it('are not known of an image whose size nobody tells', () => {
    expect(createImageSizes([node({ [A]: undefined, [B]: 0 })]).rangeOf(A)).toBeUndefined();
  });

  it('are remembered of an image that no node lists any more', () => {
    const before = node({ [A]: 5 });
    const sizes = createImageSizes([before]);
    sizes.replace(before, undefined);
    expect(sizes.rangeOf(A)).toEqual({ smallest: 5, largest: 5 });
    sizes.replace(undefined, node({ [A]: 6 }));
    expect(sizes.rangeOf(A), 'what is told now is what counts').toEqual({ smallest: 6, largest: 6 });
  });

  it('are forgotten one by one where very many are remembered', () => {
    const old = node({ [A]: 5 });
    const many = node(Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`x-${index}:1`, 1])));
    const sizes = createImageSizes([old, many]);
    sizes.replace(old, undefined);
    sizes.replace(many, undefined);
    expect(sizes.rangeOf(A)).toBeUndefined();
    expect(sizes.rangeOf('docker.io/library/x-9999:1')).toEqual({ smallest: 1, largest: 1 });
  });

  it('are, after any changes of nodes, those of the nodes that are left', () => {
    const images = fc.dictionary(fc.constantFrom(A, B), fc.integer({ min: 0, max: 3 }));
    const changes = fc.array(fc.tuple(fc.nat(3), fc.option(images, { nil: undefined })));
    fc.assert(
      fc.property(changes, (all) => {
        const nodes = new Map<number, KubernetesNode>();
        const sizes = createImageSizes();
        for (const [at, list] of all) {
          const after = list && node(list);
          sizes.replace(nodes.get(at), after);
          if (after) nodes.set(at, after);
          else nodes.delete(at);
        }
        for (const name of [A, B]) {
          const fresh = createImageSizes(nodes.values()).rangeOf(name);
          if (fresh) expect(sizes.rangeOf(name)).toEqual(fresh);
        }
      }),
    );
  });
});
