import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, type TestContext, test } from 'vitest';
import { bundleIps } from '../../scripts/esbuild.ts';
import { readConfig } from '../../src/config.ts';
import { type Coordination, createCoordination, type Part } from '../../src/coordination/coordination.ts';
import { type RedisServer, startRedis, startRedisServers } from '../cluster/redis.ts';
import { waitFor } from '../cluster/run.ts';

const ROOT = join(import.meta.dirname, '../..');
const ASK = { held: 0, wanted: 1, rank: 0, group: 'shop', elsewhere: new Map() };

async function servers(context: TestContext, count: number): Promise<RedisServer[]> {
  const all = await startRedisServers(count);
  context.onTestFinished(async () => void (await Promise.all(all.map((each) => each.close()))));
  return all;
}

/** As IPS makes it from its environment. */
function replica(context: TestContext, identity: string, environment: Record<string, string>) {
  const read = readConfig([], environment);
  if (!read.ok || read.command.run !== 'serve') throw new Error(JSON.stringify(read));
  const told: Part[] = [];
  const onPart = (part: Part) => void told.push(part);
  const coordination = createCoordination(read.command.config, { identity, now: () => new Date(), onPart });
  context.onTestFinished(() => coordination.close());
  return { ...coordination, told };
}

const healthy = ({ health, parts }: Coordination) =>
  waitFor(
    'all to work',
    async () => health() === 'ok' && parts().every(({ problem }) => problem === undefined),
  );

test('replicas share tasks and counts; what is away is told, and used again by itself', async (context) => {
  const all = await servers(context, 3);
  const environment = { REDIS_ADDRESSES: all.map(({ address }) => address).join(), MAX_ACTIVE_TASKS: '3' };
  const [a, b] = [replica(context, 'a', environment), replica(context, 'b', environment)];
  // Not one call has been answered yet, and nothing waits for it.
  expect(a.health()).toContain('not connected yet');
  await Promise.all([healthy(a), healthy(b)]);
  expect(await a.lock.acquire('task:shop/x')).toBe(true);
  expect(await b.lock.acquire('task:shop/x')).toBe(false);
  // Two of a namespace, three in all.
  expect(await a.tasks.claim('shop/1', ASK)).toBe(1);
  expect(await b.tasks.claim('shop/2', ASK)).toBe(1);
  expect(await b.tasks.claim('shop/3', ASK)).toBe(0);
  expect(await b.tasks.claim('else/4', { ...ASK, group: 'else' })).toBe(1);
  expect(await a.tasks.claim('more/5', { ...ASK, group: 'more' })).toBe(0);

  let changes = 0;
  a.onChange(() => {
    changes += 1;
  });
  const [first, second] = all;
  await second?.kill();
  const address = second?.address ?? '';
  await waitFor('the second to be seen away', async () => a.told.at(-1)?.name === address);
  expect(a.told.at(-1)?.problem).toEqual(expect.any(String));
  expect(a.parts().filter(({ problem }) => problem !== undefined)).toHaveLength(1);
  expect(a.health()).toBe('ok');
  await first?.kill();
  await waitFor('it to be told', async () => /replicas may do the same work: Redis/.test(a.health()));
  expect(a.health()).toContain(`limits are kept by what the cluster shows: Redis ${first?.address}`);

  await Promise.all([first?.start(), second?.start()]);
  await Promise.all([healthy(a), healthy(b)]);
  await waitFor('it to be told that locks may be had', async () => changes > 0);
});

test('what a replica had or waited for is there for others when it has ended', async (context) => {
  const [server] = await servers(context, 1);
  const environment = { REDIS_ADDRESSES: server?.address ?? '' };
  const [a, b] = [replica(context, 'a', environment), replica(context, 'b', environment)];
  await Promise.all([healthy(a), healthy(b)]);
  expect(await a.lock.acquire('x')).toBe(true);
  expect(await a.pulls.claim('x', { ...ASK, wanted: 30 })).toBe(30);
  expect(await a.pulls.claim('y', { ...ASK, wanted: 30 })).toBe(20);
  await a.close();
  expect(await b.lock.acquire('x')).toBe(true);
  expect(await b.pulls.claim('z', { ...ASK, wanted: 50, rank: 1 })).toBe(50);
});

test('a user with the rights that docs/coordination.md names is enough', async (context) => {
  const text = await readFile(join(ROOT, 'docs/coordination.md'), 'utf8');
  const rule = /^user (\S+) on >PASSWORD (.+)$/m.exec(text);
  if (!rule) throw new Error('the document has no rule');
  const [, user = '', rights = ''] = rule;
  const [server] = await servers(context, 1);
  const set = ['ACL', 'SETUSER', user, 'on', '>s3cret', ...rights.split(' ')];
  expect(await server?.command(...set)).toBe('OK');
  const environment = {
    REDIS_ADDRESSES: server?.address ?? '',
    REDIS_USERNAME: user,
    REDIS_PASSWORD: 's3cret',
  };
  const [a, b] = [replica(context, 'a', environment), replica(context, 'b', environment)];
  await Promise.all([healthy(a), healthy(b)]);
  expect(await a.lock.acquire('x')).toBe(true);
  expect(await b.lock.acquire('x')).toBe(false);
  expect(await a.pulls.claim('x', { ...ASK, wanted: 49 })).toBe(49);
  expect(await b.pulls.claim('y', { ...ASK, wanted: 2 })).toBe(0);
  await a.pulls.release('x');
  await a.lock.release('x');
  expect(await b.pulls.claim('y', { ...ASK, wanted: 2 })).toBe(2);
  expect(await b.lock.acquire('x')).toBe(true);
  expect([a.health(), b.health()]).toEqual(['ok', 'ok']);
});

test('a server that takes no writes counts as away', async (context) => {
  const [server] = await servers(context, 1);
  const it = replica(context, 'a', { REDIS_ADDRESSES: server?.address ?? '' });
  await healthy(it);
  await server?.command('CONFIG', 'SET', 'maxmemory', '1');
  expect(await it.lock.acquire('x')).toBe(false);
  await waitFor('it to count', async () => /same work.*OOM/.test(it.health()));
  expect(await it.lock.acquire('x')).toBe(true);
  // What it does take, such as a release, does not make it well.
  await it.lock.release('x');
  expect(await it.lock.acquire('y')).toBe(true);
  expect(it.health()).toContain('OOM');
  await server?.command('CONFIG', 'SET', 'maxmemory', '0');
  await healthy(it);
});

test('what was there before a restart is there after it, where the server keeps it', async (context) => {
  const server = await startRedis({ persistent: true });
  context.onTestFinished(() => server.close());
  const it = replica(context, 'a', { REDIS_ADDRESSES: server.address });
  await healthy(it);
  expect(await it.lock.acquire('x')).toBe(true);
  expect(await it.pulls.claim('x', { ...ASK, wanted: 40 })).toBe(40);
  await server.stop();
  await server.start();
  const other = replica(context, 'b', { REDIS_ADDRESSES: server.address });
  await healthy(other);
  expect(await other.pulls.claim('y', { ...ASK, wanted: 20 })).toBe(10);
});

test('the scripts are in the bundle that the image has', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ips-bundle-'));
  try {
    const file = join(folder, 'scripts.mjs');
    await bundleIps(file, 'src/coordination/scripts.ts');
    const { CLAIM, GIVE_BACK, HEARTBEAT } = await import(pathToFileURL(file).href);
    const texts = ['claim', 'give-back', 'heartbeat'].map((name) =>
      readFile(join(ROOT, `src/coordination/${name}.lua`), 'utf8'),
    );
    expect([CLAIM.text, GIVE_BACK.text, HEARTBEAT.text]).toEqual(await Promise.all(texts));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
