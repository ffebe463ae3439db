import { setImmediate as nextTurn } from 'node:timers/promises';

/** Longer than this, others wait for the event loop. */
const SLICE_MS = 10;

/** Asked between the pieces of a long work: lets everything else have its turn, where it has gone on for long enough. */
export function createPace(sliceMs = SLICE_MS): () => Promise<void> {
  let sinceMs = performance.now();
  return async () => {
    if (performance.now() - sinceMs < sliceMs) return;
    await nextTurn();
    sinceMs = performance.now();
  };
}

/** Does work that comes in parts, each of which is short. */
export async function inTurns<T>(work: Iterator<undefined, T>, pace: () => Promise<void>): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    await pace();
  }
}
