import { expect, it } from 'vitest';
import { parseQuantity } from './quantity.ts';

it.each([
  ['2', 2],
  ['250m', 0.25],
  ['0.5', 0.5],
  ['.5', 0.5],
  ['1e3', 1000],
  ['1E3', 1000],
  ['1E', 1e18],
  ['100k', 100_000],
  ['129M', 129e6],
  ['120Mi', 120 * 2 ** 20],
  ['7817192Ki', 7_817_192 * 1024],
  ['-1', -1],
  ['', undefined],
  ['5Zi', undefined],
  ['1.2.3', undefined],
  ['much', undefined],
  [undefined, undefined],
])('%s is %s', (text, number) => {
  expect(parseQuantity(text)).toBe(number);
});
