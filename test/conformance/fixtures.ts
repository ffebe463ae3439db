import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Lock } from '../../src/coordination/ports.ts';
import { type RedisAddress, readRedisAddresses } from '../../src/coordination/redis-address.ts';
import {
  connectRedis,
  type RedisConnection,
  type RedisSettings,
} from '../../src/coordination/redis-connection.ts';
import { createRedisLock } from '../../src/coordination/redis-lock.ts';
import type { RedisServer } from '../cluster/redis.ts';
import { waitFor } from '../cluster/run.ts';

export const NO_SECRETS: RedisSettings = {
  redisUsername: undefined,
  redisPassword: undefined,
  redisPasswordFile: undefined,
  redisTlsCaFile: undefined,
  redisPrefix: 'test',
};

/** How long a lock lasts in these tests; who renews it may be held up for most of that on a slow machine. */
export const TTL_MS = 6000;

/** On a slow machine a healthy server may take longer than IPS waits, and a lock would be let through for that. */
const CALL_MS = 2000;

/** As IPS connects, but patient. */
export function connectPatiently(address: RedisAddress, settings: Partial<RedisSettings>): RedisConnection {
  return connectRedis(address, { ...NO_SECRETS, ...settings }, () => {}, CALL_MS);
}

/** A replica that may hold locks. */
export type Contender = {
  lock: Lock;
  close(): Promise<void>;
};

/** The same as a process of its own. */
export type ContenderProcess = {
  ask(command: 'acquire' | 'holds' | 'release' | 'work', name: string, more?: string): Promise<unknown>;
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, and waits for the end. */
  end(): Promise<void>;
  /** SIGKILL. */
  close(): Promise<void>;
};

export type ContenderSettings =
  | { addresses: string[]; redis: Partial<RedisSettings>; ttlMs: number }
  | { kubeconfig: string; namespace: string; name: string; identity: string; expiresMs: number };

/** `test`: a name of the test, whose contenders are each other's and nobody else's. */
export type LockFixture = {
  contender(test: string): Promise<Contender>;
  /** Of adapters that work between processes. */
  process?(test: string): Promise<ContenderProcess>;
};

export type RedisUse = { servers: RedisServer[]; redis?: Partial<RedisSettings>; scheme?: string };

export function addressesOf({ servers, scheme = 'redis' }: RedisUse): string[] {
  return servers.map(({ address }) => `${scheme}://${address}`);
}

/** Connections of one replica, all of which answer. */
export async function connect(use: RedisUse): Promise<RedisConnection[]> {
  const { addresses } = readRedisAddresses(addressesOf(use));
  const connections = addresses.map((each) => connectPatiently(each, use.redis ?? {}));
  await answering(connections);
  return connections;
}

export async function answering(connections: RedisConnection[]): Promise<void> {
  for (const each of connections)
    await waitFor(`${each.name} to answer`, async () => {
      const problem = each.problem();
      if (problem !== undefined) throw new Error(problem);
      return true;
    });
}

type RedisFixture = { contender(): Promise<Contender>; process(): Promise<ContenderProcess> };

export function redisFixture(use: () => RedisUse): RedisFixture {
  return {
    async contender() {
      const connections = await connect(use());
      const lock = createRedisLock(connections, { prefix: 'test', ttlMs: TTL_MS });
      return {
        lock,
        async close() {
          await lock.close();
          for (const each of connections) each.close();
        },
      };
    },
    process: () => startContender({ addresses: addressesOf(use()), redis: use().redis ?? {}, ttlMs: TTL_MS }),
  };
}

export async function startContender(settings: ContenderSettings): Promise<ContenderProcess> {
  const main = join(import.meta.dirname, 'contender-main.ts');
  // Should this process be killed, it must not stay.
  const args = ['--pdeathsig', 'KILL', process.execPath, main, JSON.stringify(settings)];
  const child = spawn('setpriv', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = once(child, 'exit');

  async function answer(): Promise<unknown> {
    const { value, done } = await lines.next();
    if (done) throw new Error('the contender has ended');
    return JSON.parse(value as string);
  }

  await answer();
  return {
    async ask(command, name, more = '') {
      child.stdin.write(`${command} ${name} ${more}\n`);
      return answer();
    },
    kill: (signal) => void child.kill(signal),
    async end() {
      child.kill('SIGTERM');
      await exited;
    },
    async close() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
