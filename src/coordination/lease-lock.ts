import { setTimeout as sleep } from 'node:timers/promises';
import type { Lease } from '../domain/kubernetes.ts';
import type { Lock } from './ports.ts';

/** The one Lease that is used, as the API server has it. */
export type LeaseApi = {
  read(): Promise<Lease>;
  /** Undefined where it is no longer the version that was read. */
  replace(lease: Lease): Promise<Lease | undefined>;
  /** Resolves when the server ends the watch. */
  watch(onChange: (lease: Lease) => void, signal: AbortSignal): Promise<void>;
};

export type LeaseLockOptions = {
  api: LeaseApi;
  identity: string;
  now: () => Date;
  /** Called when this replica begins to lead, ceases to, or cannot tell. */
  onChange?: () => void;
  expiresMs?: number;
};

export type LeaseLock = Lock & { isLeader(): boolean; problem(): string | undefined; close(): Promise<void> };

const EXPIRES_MS = 30_000;
/** Of its time, as for the lock on Redis. */
const MARGIN = 0.1;
const RETRY_MS = 1000;
/** At the end: an API server that does not answer is not waited for, since the lease expires by itself. */
const CLOSE_MS = 1000;

/**
 * One lease for all names: one replica does the work, and the next takes over when the lease has not changed for its
 * whole time. That is judged by each replica's own clock since it saw the last change, never by the times in the lease:
 * clocks of machines differ.
 */
export function createLeaseLock(options: LeaseLockOptions): LeaseLock {
  const { api, identity, expiresMs = EXPIRES_MS } = options;
  const names = new Set<string>();
  const ended = new AbortController();
  let seen: { lease: Lease; atMs: number } | undefined;
  let leadsUntilMs = Number.NEGATIVE_INFINITY;
  let problem: string | undefined = 'not read yet';
  let told = '';
  let wake = () => {};

  const isLeader = () => performance.now() < leadsUntilMs;
  const holder = () => seen?.lease.spec?.holderIdentity || undefined;

  /** What another did meanwhile has to be read, under each name: none is ours still when this replica leads again. */
  function cease(): void {
    leadsUntilMs = Number.NEGATIVE_INFINITY;
    names.clear();
  }

  function tell(): void {
    if (!isLeader()) names.clear();
    const state = JSON.stringify([isLeader(), problem]);
    if (state === told) return;
    told = state;
    options.onChange?.();
  }

  function see(lease: Lease): void {
    if (seen?.lease.metadata.resourceVersion === lease.metadata.resourceVersion) return;
    seen = { lease, atMs: performance.now() };
    if (holder() !== identity) cease();
    wake();
  }

  function write(holderIdentity: string): Lease {
    const lease: Lease = seen?.lease ?? { metadata: {} };
    const time = options.now().toISOString().replace('Z', '000Z');
    const isNew = lease.spec?.holderIdentity !== holderIdentity;
    return {
      ...lease,
      spec: {
        ...lease.spec,
        ...{ holderIdentity, renewTime: time, leaseDurationSeconds: Math.ceil(expiresMs / 1000) },
        ...(isNew && holderIdentity
          ? { acquireTime: time, leaseTransitions: (lease.spec?.leaseTransitions ?? 0) + 1 }
          : {}),
      },
    };
  }

  /** Renews, or takes over what is free; gives how long to wait for the next step. */
  async function step(): Promise<number> {
    if (!isLeader()) see(await api.read());
    const at = seen?.atMs ?? 0;
    const isMine = holder() === identity;
    const expired = performance.now() >= at + expiresMs;
    if (!(isMine || holder() === undefined || expired)) return at + expiresMs - performance.now();
    const sentMs = performance.now();
    const written = await api.replace(write(identity));
    // Somebody else was first, or changed something beside.
    if (!written) {
      see(await api.read());
      return holder() === identity ? 0 : RETRY_MS;
    }
    see(written);
    leadsUntilMs = sentMs + expiresMs * (1 - MARGIN);
    return expiresMs / 3;
  }

  async function run(): Promise<void> {
    while (!ended.signal.aborted) {
      const waitMs = await step().then(
        (ms) => {
          problem = undefined;
          return ms;
        },
        (error: unknown) => {
          problem = error instanceof Error ? error.message : String(error);
          return RETRY_MS;
        },
      );
      tell();
      await pause(waitMs);
    }
  }

  /** Ends early when the lease is free, also where that was seen a moment ago. */
  async function pause(ms: number): Promise<void> {
    const isFree = () => problem === undefined && !isLeader() && holder() === undefined;
    if (isFree() || ended.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        if (!isFree() && !ended.signal.aborted) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Only to be quicker: what it misses, `step` reads. */
  async function follow(): Promise<void> {
    while (!ended.signal.aborted) {
      await api.watch(see, ended.signal).catch(() => {});
      await sleep(RETRY_MS * (1 + Math.random()), undefined, { signal: ended.signal }).catch(() => {});
    }
  }

  const running = run();
  void follow();

  return {
    isLeader,
    problem: () => problem,
    async acquire(name) {
      if (isLeader()) names.add(name);
      return isLeader();
    },
    holds: (name) => isLeader() && names.has(name),
    async release(name) {
      names.delete(name);
    },
    async close() {
      const led = isLeader();
      ended.abort();
      wake();
      cease();
      // A renewal that is on its way must not come after.
      const givenBack = running.then(async () => {
        cease();
        if (led) await api.replace(write('')).catch(() => {});
      });
      await Promise.race([givenBack, sleep(CLOSE_MS, undefined, { ref: false })]);
    },
  };
}
