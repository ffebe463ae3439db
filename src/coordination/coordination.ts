import type { Limits } from './grant.ts';
import { createLeaseLock, type LeaseApi } from './lease-lock.ts';
import { createMemoryLock, createMemorySemaphore } from './memory.ts';
import type { Lock, Semaphore } from './ports.ts';
import { addressName, type RedisAddress } from './redis-address.ts';
import { connectRedis, type RedisConnection, type RedisSettings } from './redis-connection.ts';
import { createRedisLock } from './redis-lock.ts';
import { createRedisSemaphore } from './redis-semaphore.ts';

export type CoordinationSettings = RedisSettings & {
  coordination: 'memory' | 'redis' | 'lease';
  redisAddresses: RedisAddress[];
  queueRedisAddress: RedisAddress | undefined;
  maxActiveTasks: number;
  maxNamespaceTasks: number;
  maxConcurrentPulls: number;
};

export type CoordinationOptions = {
  /** This replica: not the same again after a restart. */
  identity: string;
  /** Needed where `coordination` is `lease`. */
  leaseApi?: LeaseApi;
  now: () => Date;
  /** Called with one part that began or ceased to work: a server, or the lease. */
  onPart?: (part: Part) => void;
};

/** `name`: the address of a server, or `lease`. */
export type Part = { name: string; problem: string | undefined };

export type Coordination = {
  lock: Lock;
  /** Tasks that warm. */
  tasks: Semaphore;
  /** Warmers that run. */
  pulls: Semaphore;
  /** `ok`, or what does not work and what that means. */
  health(): string;
  parts(): Part[];
  /** Called when a lock that was refused may be had now: this replica leads, or servers came back. */
  onChange(listener: () => void): void;
  /** Gives back every lock, and all that is held or waited for. */
  close(): Promise<void>;
};

/** Shares the work of several replicas. Comes up behind: until then, and whenever its servers are away, nothing waits. */
export function createCoordination(
  settings: CoordinationSettings,
  options: CoordinationOptions,
): Coordination {
  switch (settings.coordination) {
    case 'memory':
      return inMemory(settings);
    case 'redis':
      return onRedis(settings, options);
    case 'lease':
      return byLease(settings, options);
  }
}

type SemaphoreLimits = Pick<Limits, 'size'> & Partial<Limits>;

function limitsOf(settings: CoordinationSettings): { tasks: SemaphoreLimits; pulls: SemaphoreLimits } {
  return {
    tasks: { size: settings.maxActiveTasks, groupLimit: settings.maxNamespaceTasks },
    pulls: { size: settings.maxConcurrentPulls },
  };
}

function inMemory(settings: CoordinationSettings): Coordination {
  const limits = limitsOf(settings);
  return {
    lock: createMemoryLock(),
    tasks: createMemorySemaphore(limits.tasks),
    pulls: createMemorySemaphore(limits.pulls),
    health: () => 'ok',
    parts: () => [],
    onChange() {},
    async close() {},
  };
}

function onRedis(settings: CoordinationSettings, options: CoordinationOptions): Coordination {
  const listeners: (() => void)[] = [];
  const connections = new Map<string, RedisConnection>();

  function connect(address: RedisAddress): RedisConnection {
    const name = addressName(address);
    const connection = connections.get(name) ?? connectRedis(address, settings, changed);
    connections.set(name, connection);
    return connection;
  }

  function changed(connection: RedisConnection): void {
    const { name } = connection;
    const problem = connection.problem();
    options.onPart?.({ name, problem });
    if (problem === undefined) void lock.renew().then(() => tell(listeners));
  }

  const servers = settings.redisAddresses.map(connect);
  const [first] = servers;
  if (!first) throw new Error('coordination by Redis needs a server');
  const queue = settings.queueRedisAddress ? connect(settings.queueRedisAddress) : first;
  const prefix = settings.redisPrefix;
  const lock = createRedisLock(servers, { prefix });
  const limits = limitsOf(settings);
  const shared = { prefix, owner: options.identity };
  const tasks = createRedisSemaphore(queue, { ...shared, name: 'tasks', limits: limits.tasks });
  const pulls = createRedisSemaphore(queue, { ...shared, name: 'pulls', limits: limits.pulls });

  return {
    lock,
    tasks,
    pulls,
    health() {
      const told = [];
      if (lock.isAway()) told.push(`replicas may do the same work: ${problems(servers)}`);
      if (queue.problem() !== undefined)
        told.push(`limits are kept by what the cluster shows: ${problems([queue])}`);
      return told.join('; ') || 'ok';
    },
    parts: () => [...connections.values()].map((each) => ({ name: each.name, problem: each.problem() })),
    onChange: (listener) => void listeners.push(listener),
    async close() {
      await Promise.all([lock.close(), tasks.close(), pulls.close()]);
      for (const each of connections.values()) each.close();
    },
  };
}

function problems(connections: RedisConnection[]): string {
  const bad = connections.filter((each) => each.problem() !== undefined);
  return `Redis ${bad.map((each) => `${each.name} (${each.problem()})`).join(', ')}`;
}

function tell(listeners: (() => void)[]): void {
  for (const listener of listeners) listener();
}

function byLease(settings: CoordinationSettings, options: CoordinationOptions): Coordination {
  const { leaseApi: api, identity, now } = options;
  if (!api) throw new Error('coordination by a Lease needs the API server');
  const listeners: (() => void)[] = [];
  const lock = createLeaseLock({
    ...{ api, identity, now },
    onChange() {
      for (const part of parts()) options.onPart?.(part);
      if (lock.isLeader()) tell(listeners);
    },
  });
  const parts = () => [{ name: 'lease', problem: lock.problem() }];
  return {
    ...inMemory(settings),
    lock,
    health() {
      const problem = lock.problem();
      return problem === undefined ? 'ok' : `this replica may not work: ${problem}`;
    },
    parts,
    onChange: (listener) => void listeners.push(listener),
    close: () => lock.close(),
  };
}
