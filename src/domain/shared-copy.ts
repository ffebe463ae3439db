/** What the objects of Kubernetes tell again and again: kept once for all of them. What is shared is never changed. */
const MAX_SHARED = 50_000;

const texts = new Map<string, string>();

/** A copy without what is undefined, in which equal texts are one; those under the names of `own` no two objects have in common. */
export function sharedCopy(value: unknown, own: readonly string[], isOwn = false): unknown {
  if (typeof value === 'string') return isOwn ? value : share(texts, value, value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => sharedCopy(each, own));
  const kept = Object.entries(value).filter(([, each]) => each !== undefined);
  // Not by assignment: a label may be named like a prototype.
  return Object.fromEntries(kept.map(([key, each]) => [key, sharedCopy(each, own, own.includes(key))]));
}

export function share<T>(among: Map<string, T>, key: string, value: T): T {
  const known = among.get(key);
  if (known !== undefined) return known;
  if (among.size >= MAX_SHARED) among.clear();
  among.set(key, value);
  return value;
}
