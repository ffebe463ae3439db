import { Problem } from './problem.ts';

const DEFAULT_LIMIT = 50;

export type Page<T> = { items: T[]; continue?: string };

/**
 * One page of what is there now, by key, after the one where the last page ended. What comes and goes between two pages
 * moves nothing else: nothing is told twice or left out because of it.
 */
export function pageOf<T>(
  all: T[],
  keyOf: (item: T) => string,
  query: { limit?: number; continue?: string },
): Page<T> {
  const after = query.continue === undefined ? undefined : readToken(query.continue);
  const keyed = all
    .map((item) => ({ key: keyOf(item), item }))
    .filter(({ key }) => after === undefined || key > after)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const page = keyed.slice(0, query.limit ?? DEFAULT_LIMIT);
  const last = page.at(-1);
  const more = keyed.length > page.length && last !== undefined;
  return {
    items: page.map(({ item }) => item),
    ...(more ? { continue: Buffer.from(last.key).toString('base64url') } : {}),
  };
}

function readToken(token: string): string {
  const key = Buffer.from(token, 'base64url').toString();
  if (Buffer.from(key).toString('base64url') === token) return key;
  const detail = 'is not what the page before gave';
  throw new Problem(400, `continue: ${detail}`, { errors: [{ parameter: 'continue', detail }] });
}
