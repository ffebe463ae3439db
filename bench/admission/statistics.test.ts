import { describe, expect, it } from 'vitest';
import { answeredBetween, cpuMillisOf, median, percentile, readLog } from './statistics.ts';

describe('percentile', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  it.each([
    { values: hundred, share: 0.5, expected: 50 },
    { values: hundred, share: 0.99, expected: 99 },
    { values: hundred, share: 1, expected: 100 },
    { values: [7], share: 0.99, expected: 7 },
    { values: [10, 9], share: 0.5, expected: 9 },
    { values: [], share: 0.5, expected: Number.NaN },
  ])('$share of $values.length values is $expected', ({ values, share, expected }) => {
    expect(percentile(values, share)).toBe(expected);
  });
});

describe('median', () => {
  it.each([
    { values: [10, 9, 100], expected: 10 },
    { values: [1, 2, 4, 100], expected: 3 },
    { values: [], expected: Number.NaN },
  ])('of $values is $expected', ({ values, expected }) => {
    expect(median(values)).toBe(expected);
  });
});

it('reads the log of h2load, and counts by the end of a request', () => {
  const log = readLog('1000000\t200\t500000\n1200000\t200\t1000000\n1300000\t-1\t10000\n');
  expect(log[0]).toEqual({ startedMicros: 1_000_000, status: 200, tookMicros: 500_000 });
  expect(answeredBetween(log, 1_500, 2_200)).toEqual([log[0]]);
  expect(answeredBetween(log, 0, 9_999)).toEqual(log);
});

it('reads the processor time of a process whose name is hostile', () => {
  const stat = '42 (node) S 9 9 (x) S 1 42 42 0 -1 4194560 9 0 0 0 150 25 0 0 20 0 11 0 100';
  expect(cpuMillisOf(stat)).toBe(1750);
});
