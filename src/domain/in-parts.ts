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

/** Those that are there now. */
export function* forEachInParts<T>(all: readonly T[], each: (one: T) => void): InParts<void> {
  const now = [...all];
  for (let from = 0; from < now.length; from += AT_ONCE) {
    if (from > 0) yield;
    for (const one of now.slice(from, from + AT_ONCE)) each(one);
  }
}
