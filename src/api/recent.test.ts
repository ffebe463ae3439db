import { expect, it } from 'vitest';
import { createRecent } from './recent.ts';

function start() {
  const clock = { ms: 0 };
  let asked = 0;
  const recent = createRecent<number>({ ttlMs: 100, most: 2, nowMs: () => clock.ms });
  const ask = async () => {
    asked += 1;
    return asked;
  };
  return { clock, recent, ask, asked: () => asked };
}

it('asks once where many ask at the same time, and again when the time is over', async () => {
  const { clock, recent, ask } = start();
  expect(await Promise.all([recent('a', ask), recent('a', ask)])).toEqual([1, 1]);
  clock.ms = 99;
  expect(await recent('a', ask)).toBe(1);
  clock.ms = 100;
  expect(await recent('a', ask)).toBe(2);
});

it('keeps no more than it may: the oldest goes', async () => {
  const { recent, ask, asked } = start();
  for (const key of ['a', 'b', 'c']) await recent(key, ask);
  await recent('c', ask);
  await recent('b', ask);
  expect(asked()).toBe(3);
  expect(await recent('a', ask)).toBe(4);
});

it('does not remember a failure', async () => {
  const { recent, ask } = start();
  const fail = async () => {
    throw new Error('away');
  };
  await expect(recent('a', fail)).rejects.toThrow('away');
  expect(await recent('a', ask)).toBe(1);
});
