import type { Exchange } from './exchange.ts';

/**
 * What is being answered, and since when.
 *
 * An array, since each table of a Map or a Set points to the one that replaced it as entries came and went: once a
 * collection of the whole heap has moved one to the old generation, all that its followers held is moved there, too,
 * dead as it is. Of ten seconds of load over HTTP/1.1 that made 21 collections of the whole heap where there are 7 now.
 */
export class InFlight {
  readonly #entries: { exchange: Exchange; sinceMs: number; place: number }[] = [];

  get size(): number {
    return this.#entries.length;
  }

  /** Returns what takes it out again, to be called once. */
  add(exchange: Exchange): () => void {
    const entry = { exchange, sinceMs: Date.now(), place: this.#entries.length };
    this.#entries.push(entry);
    return () => {
      const last = this.#entries.pop();
      if (last === undefined || last === entry) return;
      last.place = entry.place;
      this.#entries[entry.place] = last;
    };
  }

  cutOffLongerThan(ms: number): void {
    const before = Date.now() - ms;
    // Of a copy: who is cut off may be taken out at once.
    for (const { exchange, sinceMs } of [...this.#entries]) if (sinceMs < before) exchange.cutOff();
  }
}
