/** What a reconcile may ask for: to be called again after so many milliseconds, whatever happens until then. */
export type Again = { afterMs: number } | undefined;

export function soonest(a: Again, b: Again): Again {
  return a && b ? { afterMs: Math.min(a.afterMs, b.afterMs) } : (a ?? b);
}

export type WorkQueue = {
  /** Asks for `key` to be reconciled soon; a key that waits already waits once. */
  add(key: string, afterMs?: number): void;
  /** Keys are taken in, and wait. */
  pause(): void;
  resume(): void;
  /** Takes no new work and waits for what is under way. */
  stop(): Promise<void>;
  /** How many keys are ready or under way; those that wait for their time do not count. */
  size(): number;
};

const MAX_BACKOFF_MS = 60_000;

/**
 * Calls `reconcile` for each key, never twice at once for the same one, and again with growing delays while it fails.
 * A failing key does not hold up the others.
 */
export function createWorkQueue(options: {
  reconcile: (key: string) => Promise<Again>;
  onError: (key: string, error: unknown) => void;
  concurrency: number;
}): WorkQueue {
  const ready = new Set<string>();
  const active = new Map<string, Promise<void>>();
  const timers = new Map<string, { timer: NodeJS.Timeout; dueMs: number }>();
  const failures = new Map<string, number>();
  let stopping = false;
  let paused = false;
  let pumping = false;

  function add(key: string, afterMs = 0): void {
    if (stopping) return;
    if (afterMs <= 0) {
      ready.add(key);
      pumpSoon();
      return;
    }
    const dueMs = performance.now() + afterMs;
    const waiting = timers.get(key);
    if (waiting && waiting.dueMs <= dueMs) return;
    clearTimeout(waiting?.timer);
    const timer = setTimeout(() => {
      timers.delete(key);
      add(key);
    }, afterMs);
    timers.set(key, { timer, dueMs });
  }

  /** One at a time, and then whatever else waits for its turn: most of a reconcile is done before its first pause. */
  function pumpSoon(): void {
    if (pumping) return;
    pumping = true;
    setImmediate(() => {
      pumping = false;
      pump();
    });
  }

  function pump(): void {
    if (active.size >= options.concurrency || stopping || paused) return;
    const key = firstReady();
    if (key === undefined) return;
    ready.delete(key);
    const end = () => {
      active.delete(key);
      pumpSoon();
    };
    active.set(key, work(key).finally(end));
    pumpSoon();
  }

  function firstReady(): string | undefined {
    for (const key of ready) if (!active.has(key)) return key;
    return undefined;
  }

  async function work(key: string): Promise<void> {
    try {
      const again = await options.reconcile(key);
      failures.delete(key);
      if (again) add(key, Math.max(1, again.afterMs));
    } catch (error) {
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      options.onError(key, error);
      add(key, Math.min(MAX_BACKOFF_MS, 50 * 2 ** count) * (0.5 + Math.random()));
    }
  }

  return {
    add,
    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      pumpSoon();
    },
    async stop() {
      stopping = true;
      for (const { timer } of timers.values()) clearTimeout(timer);
      timers.clear();
      ready.clear();
      await Promise.all(active.values());
    },
    size: () => ready.size + active.size,
  };
}
