import { expect, it } from 'vitest';
import { BRANCHES } from '../../test/oracle/branches.ts';
import { disagreement } from '../../test/oracle/compare.ts';
import { readVectors } from '../../test/oracle/vectors.ts';
import { normalizeImage } from './image-reference.ts';

/** What Kubernetes' own library and containerd answered; `make oracle-vectors` writes them. */
const vectors = readVectors();
const nodes = vectors.filter((vector) => 'asked' in vector);
const images = vectors.filter((vector) => 'image' in vector);

const MOST_SHOWN = 5;

function smallest(wrong: string[]): string[] {
  return wrong.toSorted((a, b) => a.length - b.length).slice(0, MOST_SHOWN);
}

it('takes the nodes that Kubernetes takes, and refuses the others for its reasons', () => {
  expect(nodes.length).toBeGreaterThanOrEqual(5000);
  const wrong = nodes.flatMap(({ asked, refusedBy }) => {
    const difference = disagreement(asked, refusedBy);
    return difference ? `${difference}\n${JSON.stringify(asked)}` : [];
  });
  expect(smallest(wrong), `${wrong.length} of ${nodes.length} differ`).toEqual([]);
});

it('reads image references as containerd does', () => {
  expect(images.length).toBeGreaterThanOrEqual(1000);
  const wrong = images.flatMap(({ image, canonical }) => {
    const ours = normalizeImage(image);
    return ours === canonical ? [] : `${JSON.stringify(image)}: ${canonical ?? 'refused'}, IPS says ${ours}`;
  });
  expect(smallest(wrong), `${wrong.length} of ${images.length} differ`).toEqual([]);
});

it('has cases that go every way through the rules', () => {
  const counts = Object.entries(BRANCHES).map(([name, went]) => ({
    name,
    count: nodes.filter(({ asked, refusedBy }) => went(asked, refusedBy)).length,
  }));
  expect(counts.filter(({ count }) => count < 3)).toEqual([]);
  const readable = images.filter(({ canonical }) => canonical !== undefined).length;
  expect(Math.min(readable, images.length - readable)).toBeGreaterThan(300);
});
