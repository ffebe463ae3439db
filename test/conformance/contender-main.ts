import { rm, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLeaseLock } from '../../src/coordination/lease-lock.ts';
import type { Lock } from '../../src/coordination/ports.ts';
import { readRedisAddresses } from '../../src/coordination/redis-address.ts';
import { createRedisLock } from '../../src/coordination/redis-lock.ts';
import { waitFor } from '../cluster/run.ts';
import { type ContenderSettings, connectPatiently } from './fixtures.ts';

/** One that may hold locks, as a process: takes commands line by line, and answers each with a line of JSON. */

const settings = JSON.parse(process.argv[2] ?? '') as ContenderSettings;
const lock = await open();
console.log('"ready"');

for await (const line of createInterface({ input: process.stdin })) {
  const [command, name = '', more = ''] = line.split(' ');
  if (command === 'acquire') answer(await lock.acquire(name));
  if (command === 'holds') answer(lock.holds(name));
  if (command === 'release') answer(await lock.release(name).then(() => true));
  if (command === 'work') answer(await work(name, more));
}

function answer(value: unknown): void {
  console.log(JSON.stringify(value));
}

/** Takes and gives back, again and again; while it holds, a file is there that nobody else may make. */
async function work(name: string, file: string): Promise<number> {
  const endMs = performance.now() + 3000;
  let times = 0;
  while (performance.now() < endMs) {
    if (!(await lock.acquire(name)) || !lock.holds(name)) {
      await sleep(5);
      continue;
    }
    await writeFile(file, '', { flag: 'wx' });
    await rm(file);
    times += 1;
    await lock.release(name);
  }
  return times;
}

async function open(): Promise<Lock> {
  if ('kubeconfig' in settings) {
    const { kubeconfig, namespace, name, identity, expiresMs } = settings;
    // Half a second that the others need not wait.
    const { createKubeClient } = await import('../../src/kube/client.ts');
    const { loadKubeConfig } = await import('../../src/kube/config.ts');
    const { createLeaseApi } = await import('../../src/kube/lease.ts');
    const client = createKubeClient(loadKubeConfig(kubeconfig), { userAgent: 'conformance' });
    const api = createLeaseApi(client, namespace, name);
    const lease = createLeaseLock({ api, identity, now: () => new Date(), expiresMs });
    process.on('SIGTERM', () => void lease.close().then(() => process.exit(0)));
    return lease;
  }
  const { addresses } = readRedisAddresses(settings.addresses);
  const connections = addresses.map((each) => connectPatiently(each, settings.redis));
  await waitFor('Redis', async () => connections.every((each) => each.problem() === undefined), {
    everyMs: 20,
  });
  return createRedisLock(connections, { prefix: 'test', ttlMs: settings.ttlMs });
}
