import { expect, it } from 'vitest';
import { pageOf } from './pages.ts';

const key = (item: string) => item;
const token = (text: string) => Buffer.from(text).toString('base64url');

it('pages join to the whole, in order, whatever the order of what is there', () => {
  const all = ['d', 'b', 'e', 'a', 'c'];
  const pages: string[][] = [];
  let next: string | undefined;
  do {
    const page = pageOf(all, key, { limit: 2, ...(next ? { continue: next } : {}) });
    pages.push(page.items);
    next = page.continue;
  } while (next);
  expect(pages).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
});

it('what goes or comes between two pages moves nothing else', () => {
  const first = pageOf(['a', 'b', 'c', 'd'], key, { limit: 2 });
  const query = { limit: 2, continue: first.continue ?? '' };
  expect(pageOf(['a', 'c', 'd'], key, query).items).toEqual(['c', 'd']);
  expect(pageOf(['a', 'aa', 'b', 'bb', 'c', 'd'], key, query).items).toEqual(['bb', 'c']);
});

it('fifty on a page where it is not said, and nothing to go on with on the last', () => {
  const all = Array.from({ length: 51 }, (_, index) => String(index).padStart(2, '0'));
  expect(pageOf(all, key, {}).items).toHaveLength(50);
  expect(pageOf(all.slice(0, 50), key, {})).not.toHaveProperty('continue');
  expect(pageOf([], key, {})).toEqual({ items: [] });
});

it.each(['*', `${token('a')}=`, '_', token('\ufffd').slice(0, 2)])('a token that was made up: %j', (text) => {
  expect(() => pageOf(['a'], key, { continue: text })).toThrow('is not what the page before gave');
});
