/**
 * Work that takes many milliseconds for thousands of nodes, in parts: whoever drives it may let others have their turn in
 * between. What it was handed may have changed by then; a node is never changed, only replaced by another.
 */
export type InParts<T> = Generator<undefined, T>;

const AT_ONCE = 512;

/** For whom nobody waits. */
export function atOnce<T>(work: InParts<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** Of those that are there now, some at a time. */
export function* mapInParts<T, R>(all: readonly T[], map: (some: T[]) => R[]): InParts<R[]> {
  const now = [...all];
  const found: R[] = [];
  for (let from = 0; from < now.length; from += AT_ONCE) {
    if (from > 0) yield;
    for (const each of map(now.slice(from, from + AT_ONCE))) found.push(each);
  }
  return found;
}

export function* forEachInParts<T>(all: readonly T[], each: (one: T) => void): InParts<void> {
  yield* mapInParts(all, (some) => {
    for (const one of some) each(one);
    return [];
  });
}
