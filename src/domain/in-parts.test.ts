import { describe, expect, it } from 'vitest';
import { atOnce, forEachInParts, mapInParts } from './in-parts.ts';

const many = Array.from({ length: 1_200 }, (_, index) => index);

describe('work in parts', () => {
  it('comes to each of those that were there, in parts', () => {
    const all = [...many];
    const seen: number[] = [];
    const work = forEachInParts(all, (one) => seen.push(one));
    expect(work.next().done).toBe(false);
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.length).toBeLessThan(many.length);
    all.splice(0, 600);
    atOnce(work);
    expect(seen).toEqual(many);
  });

  it('keeps the order of what comes of them', () => {
    const some = (part: number[]) => part.map((one) => one + 1);
    expect(atOnce(mapInParts(many, some))).toEqual(many.map((one) => one + 1));
  });

  it('is one part where there are few', () => {
    const seen: number[] = [];
    expect(forEachInParts([1, 2], (one) => seen.push(one)).next().done).toBe(true);
    expect(seen).toEqual([1, 2]);
  });
});
