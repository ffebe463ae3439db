import type { Lock } from '../coordination/ports.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Again } from './work-queue.ts';

/** The writes of the controllers. */
export type Writer = Pick<KubeClient, 'create' | 'replaceStatus' | 'mergePatch' | 'remove'>;

/** What may be done about one thing, a task most of the time, while nobody else does anything about it. */
export type Turn = {
  /**
   * The lock is needed from here on. Where it was not held until now, the work is left here: for later, if another
   * replica has it, or to begin anew, since what it has found so far may be older than what the last holder wrote.
   */
  own(): Promise<void>;
  /** Each write owns first: what needs none takes no lock, and who lost it writes no more. */
  write: Writer;
  /** Nothing is left to do: the lock need not linger. */
  finish(): void;
};

export type Turns = {
  /** Does the work as soon as nothing else is done here under this name. Where another replica has it: asks to be called again. */
  run(name: string, work: (turn: Turn) => Promise<Again>): Promise<Again>;
  owns(name: string): boolean;
  /** What was refused may be had now: gives under which names, which may run again at once. */
  askAnew(): string[];
  /** Gives every lock back. */
  stop(): Promise<void>;
};

export type TurnsOptions = {
  lock: Lock;
  client: Writer;
  /** Whether there may be other replicas. */
  shared: boolean;
  /** Reads anew what the work under this name rests on: the last holder's writes may not have come by the watches yet. */
  refresh(name: string): Promise<void>;
  /** The lock stays while work goes on that nothing has to be written for. */
  isBusy(name: string): boolean;
};

const TASK_LOCK = 'task:';
/** So long after its last use a lock is kept: what follows from a write comes soon. */
const LINGER_MS = 5_000;
/** Of several replicas that ask at once it may be that none gets it: they ask again soon, and then ever more seldom. */
const FIRST_WAIT_MS = 300;
/** A replica that died is followed this soon after its lock has expired, and one that ended after its end. */
const MAX_WAIT_MS = 10_000;
/** A lock that comes and goes. */
const MAX_TRIES = 3;

/** The lock was not held until now. Thrown through the work, to leave it, and caught here. */
class NotHeld extends Error {
  readonly code = 'IPS_LOCK_NOT_HELD';
  readonly taken: boolean;

  constructor(name: string, taken: boolean) {
    super(`the lock ${name} was ${taken ? 'not held until now' : 'refused: another replica has it'}`);
    this.taken = taken;
  }
}

export function taskLock(key: string): string {
  return `${TASK_LOCK}${key}`;
}

/** The key of the task that a lock is for; undefined where it is for something else. */
export function taskOfLock(name: string): string | undefined {
  return name.startsWith(TASK_LOCK) ? name.slice(TASK_LOCK.length) : undefined;
}

export function createTurns(options: TurnsOptions): Turns {
  const { lock, client, shared } = options;
  const queues = new Map<string, Promise<unknown>>();
  const ours = new Set<string>();
  const refused = new Map<string, { waitMs: number; untilMs: number }>();
  const lingering = new Map<string, NodeJS.Timeout>();
  const owns = (name: string) => ours.has(name) && lock.holds(name);

  function alone<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = queues.get(name) ?? Promise.resolve();
    const done = before.then(work);
    const settled = done.then(
      () => {},
      () => {},
    );
    queues.set(name, settled);
    void settled.then(() => {
      if (queues.get(name) === settled) queues.delete(name);
    });
    return done;
  }

  async function own(name: string): Promise<void> {
    if (owns(name)) return;
    ours.delete(name);
    if (!(await lock.acquire(name))) {
      const waitMs = Math.min(MAX_WAIT_MS, 2 * (refused.get(name)?.waitMs ?? FIRST_WAIT_MS / 2));
      refused.set(name, { waitMs, untilMs: performance.now() + waitMs * (0.5 + Math.random()) });
      throw new NotHeld(name, false);
    }
    ours.add(name);
    refused.delete(name);
    if (!shared) return;
    await options.refresh(name).catch(async (error: unknown) => {
      await release(name); // the next try reads it
      throw error;
    });
    throw new NotHeld(name, true);
  }

  async function attempt(name: string, work: (turn: Turn) => Promise<Again>, tries: number): Promise<Again> {
    let finished = false;
    const turn: Turn = {
      own: () => own(name),
      write: ownedWriter(client, () => own(name)),
      finish() {
        finished = true;
      },
    };
    try {
      const again = await work(turn);
      refused.delete(name);
      return again;
    } catch (error) {
      if (!(error instanceof NotHeld)) throw error;
      if (error.taken && tries < MAX_TRIES) return attempt(name, work, tries + 1);
      return { afterMs: waitOf(name) || FIRST_WAIT_MS };
    } finally {
      if (finished) await release(name);
      else linger(name);
    }
  }

  function waitOf(name: string): number {
    return Math.max(0, Math.ceil((refused.get(name)?.untilMs ?? 0) - performance.now()));
  }

  function linger(name: string): void {
    clearTimeout(lingering.get(name));
    lingering.delete(name);
    if (!ours.has(name)) return;
    const timer = setTimeout(() => {
      // A lock that could not be given back expires.
      alone(name, async () => {
        if (lingering.get(name) !== timer) return;
        if (options.isBusy(name)) linger(name);
        else await release(name);
      }).catch(() => {});
    }, LINGER_MS);
    lingering.set(name, timer);
  }

  async function release(name: string): Promise<void> {
    clearTimeout(lingering.get(name));
    lingering.delete(name);
    if (ours.delete(name)) await lock.release(name);
  }

  return {
    run: (name, work) =>
      alone(name, async () => {
        const waitMs = owns(name) ? 0 : waitOf(name);
        return waitMs > 0 ? { afterMs: waitMs } : attempt(name, work, 1);
      }),
    owns,
    askAnew() {
      const names = [...refused.keys()];
      refused.clear();
      return names;
    },
    async stop() {
      await Promise.all([...ours].map(release));
    },
  };
}

function ownedWriter(client: Writer, own: () => Promise<void>): Writer {
  return {
    async create(...args) {
      await own();
      return client.create(...args);
    },
    async replaceStatus(...args) {
      await own();
      return client.replaceStatus(...args);
    },
    async mergePatch(...args) {
      await own();
      return client.mergePatch(...args);
    },
    async remove(...args) {
      await own();
      return client.remove(...args);
    },
  };
}
