import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, type TestContext, test } from 'vitest';
import { type Ask, emptyState, giveBack, grant } from '../../src/coordination/grant.ts';
import { createMemorySemaphore } from '../../src/coordination/memory.ts';
import type { Semaphore } from '../../src/coordination/ports.ts';
import type { RedisConnection } from '../../src/coordination/redis-connection.ts';
import { createRedisSemaphore } from '../../src/coordination/redis-semaphore.ts';
import { type RedisServer, startRedis } from '../cluster/redis.ts';
import { waitFor } from '../cluster/run.ts';
import { answering, connect } from './fixtures.ts';

let server: RedisServer;
let connection: RedisConnection;

beforeAll(async () => {
  server = await startRedis();
  [connection] = (await connect({ servers: [server] })) as [RedisConnection];
});

afterAll(async () => {
  connection.close();
  await server.close();
});

type Options = {
  size: number;
  groupLimit?: number;
  owner?: string;
  heartbeatMs?: number;
  patienceMs?: number;
  prefix?: string;
};

const unique = () => `test-${randomBytes(6).toString('hex')}`;

function open(
  context: TestContext | undefined,
  { size, groupLimit, owner = 'me', prefix = unique(), ...more }: Options,
  on = connection,
) {
  const limits = { size, ...(groupLimit ? { groupLimit } : {}) };
  const semaphore = createRedisSemaphore(on, { ...more, name: 'pulls', prefix, owner, limits });
  context?.onTestFinished(() => semaphore.close());
  return { ...semaphore, prefix };
}

const BACK_IN_TIME = `for _, key in ipairs(KEYS) do
  for _, name in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -ARGV[1], name) end
end`;

/** Lets all that is recorded be so much older. */
async function pass(prefix: string, ms: number): Promise<void> {
  const script = { text: BACK_IN_TIME, sha: createHash('sha1').update(BACK_IN_TIME).digest('hex') };
  await connection.run(script, [`${prefix}:{pulls}:flight`, `${prefix}:{pulls}:asked`], [ms]);
}

function ask(more: Partial<Ask>): Ask {
  return { held: 0, wanted: 0, rank: 0, group: 'shop', elsewhere: new Map(), ...more };
}

test('gives what the model gives, whatever is asked in whatever order', async () => {
  const holder = fc.constantFrom('shop/a', 'shop/b', 'a b/c', 'd', 'é');
  const group = fc.constantFrom('shop', 'a b');
  const elsewhere = fc.array(fc.tuple(holder, fc.nat(8))).map((pairs) => new Map(pairs));
  const numbers = { held: fc.nat(6), wanted: fc.nat(12), elsewhere };
  const rank = fc.constantFrom(0, 1, 1.5, -3, 1_763_740_000_000);
  const step = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({ do: fc.constant('claim' as const), holder, ...numbers, group, rank }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('release' as const), holder }) },
    // Sums of these stay away from 60 and 120 s by more than a slow run takes.
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(25_000, 80_000) }),
    },
  );
  const limits = fc.record({ size: fc.integer({ min: 1, max: 30 }), groupLimit: fc.constantFrom(1, 4, 30) });
  await fc.assert(
    fc.asyncProperty(limits, fc.array(step, { size: '+1' }), async (given, steps) => {
      const { prefix, claim, release, close } = open(undefined, given);
      const model = emptyState();
      const all = { ...given, staleMs: 120_000, forgetMs: 60_000 };
      let nowMs = 0;
      for (const each of steps) {
        if (each.do === 'pass') {
          nowMs += each.ms;
          await pass(prefix, each.ms);
        } else if (each.do === 'release') {
          giveBack(model, each.holder);
          await release(each.holder);
        } else {
          const wanted = grant(model, each.holder, each, all, nowMs);
          expect(await claim(each.holder, each)).toBe(wanted);
        }
      }
      close();
    }),
    { numRuns: 150 },
  );
});

test('gives never more than there is to many connections that ask at the same time', async (context) => {
  const prefix = unique();
  const connections = (
    await Promise.all(Array.from({ length: 4 }, () => connect({ servers: [server] })))
  ).flat();
  const replicas = connections.map((each, index) =>
    open(context, { size: 10, prefix, owner: `${index}` }, each),
  );
  const holding = new Map<string, number>();
  const sum = () => [...holding.values()].reduce((a, b) => a + b, 0);
  const work = async (replica: Semaphore, holder: string) => {
    for (let times = 0; times < 30; times += 1) {
      const granted = await replica.claim(holder, ask({ wanted: 1 + (times % 5), rank: times }));
      holding.set(holder, granted);
      expect(sum()).toBeLessThanOrEqual(10);
      // Told as gone before it is given back: the sum here is never more than what is recorded there.
      holding.delete(holder);
      await replica.release(holder);
    }
  };
  await Promise.all(
    replicas.flatMap((replica, index) => [0, 1, 2].map((n) => work(replica, `${index}-${n}`))),
  );
  expect(await replicas[0]?.claim('all', ask({ wanted: 10 }))).toBe(10);
  for (const each of connections) each.close();
});

test('what a replica holds stays its own while it lives', async (context) => {
  const living = open(context, { size: 10, heartbeatMs: 200 });
  expect(await living.claim('a', ask({ wanted: 6 }))).toBe(6);
  await pass(living.prefix, 100_000);
  await waitFor('a heartbeat', async () => {
    const score = Number(await server.command('ZSCORE', `${living.prefix}:{pulls}:flight`, 'a'));
    return Date.now() - score < 50_000;
  });
  await pass(living.prefix, 100_000);
  expect(await open(context, { size: 10, prefix: living.prefix }).claim('b', ask({ wanted: 10 }))).toBe(4);
});

test('what a dead replica held comes back after two minutes, but for what is seen to run', async (context) => {
  const dead = open(context, { size: 10 });
  await dead.claim('a', ask({ wanted: 6 }));
  const next = open(context, { size: 10, prefix: dead.prefix, owner: 'next' });
  await pass(next.prefix, 110_000);
  expect(await next.claim('b', ask({ wanted: 10 }))).toBe(4);
  await next.release('b');
  await pass(next.prefix, 20_000);
  expect(await next.claim('b', ask({ wanted: 10, elsewhere: new Map([['a', 5]]) }))).toBe(5);
  await next.release('b');
  expect(await next.claim('b', ask({ wanted: 10 }))).toBe(10);
});

test('a replica does not give back what another has by now', async (context) => {
  const before = open(context, { size: 10 });
  await before.claim('task', ask({ wanted: 6 }));
  const now = open(context, { size: 10, prefix: before.prefix, owner: 'now' });
  expect(await now.claim('task', ask({ held: 6 }))).toBe(0);
  await before.release('task');
  expect(await now.claim('other', ask({ wanted: 10 }))).toBe(4);
});

test('leaves nothing behind: what is given back is gone, and the rest expires', async (context) => {
  const { claim, release, prefix } = open(context, { size: 10 });
  await claim('a', ask({ wanted: 10 }));
  await claim('b', ask({ wanted: 10 }));
  const keys = (await server.command('KEYS', `${prefix}:*`)).split('\n');
  expect(keys).toHaveLength(5);
  for (const key of keys) {
    expect(key).toMatch(/^test-\w+:\{pulls\}:\w+$/);
    const ms = Number(await server.command('PTTL', key));
    expect(ms).toBeGreaterThan(120_000);
    expect(ms).toBeLessThanOrEqual(240_000);
  }
  for (const holder of ['a', 'b']) await release(holder);
  expect(await server.command('KEYS', `${prefix}:*`)).toBe('');
});

test('without its server it counts what the cluster shows and what it gave out, and comes back by itself', async (context) => {
  const own = await startRedis();
  const connections = (await connect({ servers: [own] })) as [RedisConnection];
  context.onTestFinished(async () => {
    connections[0].close();
    await own.close();
  });
  const { claim, prefix, release } = open(context, { size: 10 }, connections[0]);
  expect(await claim('a', ask({ wanted: 4 }))).toBe(4);
  await own.kill();
  const startMs = performance.now();
  // Four are recorded here, three are seen.
  expect(await claim('b', ask({ wanted: 3, elsewhere: new Map([['x', 3]]) }))).toBe(3);
  expect(await claim('c', ask({ wanted: 6, elsewhere: new Map() }))).toBe(3);
  await release('c');
  expect(performance.now() - startMs).toBeLessThan(5000);

  await own.start();
  await answering(connections);
  expect(await claim('a', ask({ held: 4 }))).toBe(0);
  expect(await own.command('HGET', `${prefix}:{pulls}:held`, 'a')).toBe('4 me shop');
  await own.flush();
  expect(await claim('b', ask({ held: 3, wanted: 7, elsewhere: new Map([['a', 4]]) }))).toBe(3);
});

test('a server that hesitates is waited for: it knows what others have and nobody sees yet', async (context) => {
  const own = await startRedis();
  const connections = [...(await connect({ servers: [own] })), ...(await connect({ servers: [own] }))];
  context.onTestFinished(async () => {
    for (const each of connections) each.close();
    await own.close();
  });
  const [one, other] = connections as [RedisConnection, RedisConnection];
  const before = open(context, { size: 10 }, one);
  expect(await before.claim('a', ask({ wanted: 6 }))).toBe(6);
  const { claim } = open(context, { size: 10, prefix: before.prefix, patienceMs: 60_000 }, other);
  own.freeze();
  const late = claim('b', ask({ wanted: 10 }));
  await waitFor('the server to be late', async () => other.problem() !== undefined);
  own.thaw();
  expect(await late).toBe(4);
});

test('the one in memory gives what the model gives', async () => {
  const { claim } = createMemorySemaphore({ size: 3, groupLimit: 2 }, () => 0);
  expect(await claim('a', ask({ wanted: 3 }))).toBe(2);
  expect(await claim('b', ask({ wanted: 3, group: 'other' }))).toBe(1);
});
