import { beforeAll, describe, expect, test } from 'vitest';
import { createLeaseLock } from '../../src/coordination/lease-lock.ts';
import { createKubeClient } from '../../src/kube/client.ts';
import { loadKubeConfig } from '../../src/kube/config.ts';
import { createLeaseApi } from '../../src/kube/lease.ts';
import { kubectl } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { type ContenderProcess, type LockFixture, startContender, TTL_MS } from '../conformance/fixtures.ts';
import { lockSuite } from '../conformance/lock.suite.ts';
import { loginAsIps } from './ips.ts';
import { createKit, type Kit, unique } from './kit.ts';

// The same as of every adapter (test/conformance), here because it needs an API server.

let kit: Kit;
const leases = new Map<string, Promise<string>>();

beforeAll(async () => {
  kit = await createKit('lease');
});

/** One for each test. */
function leaseOf(test: string): Promise<string> {
  const known = leases.get(test) ?? makeLease();
  leases.set(test, known);
  return known;
}

async function makeLease(): Promise<string> {
  const name = unique('lease');
  const { namespace } = kit;
  await kit.apply({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name, namespace } });
  return name;
}

function leader(name: string, identity: string, expiresMs = TTL_MS) {
  const config = loadKubeConfig(kit.cluster.kubeconfigFile);
  const client = createKubeClient(config, { userAgent: 'lease-test' });
  const api = createLeaseApi(client, kit.namespace, name);
  return createLeaseLock({ api, identity, now: () => new Date(), expiresMs });
}

const fixture: LockFixture = {
  async contender(test) {
    const lock = leader(await leaseOf(test), unique('replica'));
    return { lock, close: () => lock.close() };
  },
  process: async (test) => startProcess(await leaseOf(test)),
};

function startProcess(name: string, expiresMs = TTL_MS): Promise<ContenderProcess> {
  const kubeconfig = kit.cluster.kubeconfigFile;
  const identity = unique('process');
  return startContender({ kubeconfig, namespace: kit.namespace, name, identity, expiresMs });
}

lockSuite('the lock by a lease', fixture);

/** By its answer; it fails where that is no. */
async function canI(verb: string, lease: string, account: string[]): Promise<string> {
  const args = ['auth', 'can-i', verb, lease, ...account];
  return kubectl(kit.cluster, args).then(
    (text) => text.trim(),
    () => 'no',
  );
}

type Stored = { spec?: { holderIdentity?: string; renewTime?: string }; metadata: object };

describe.concurrent('a lease', () => {
  test('given up at SIGTERM is had by the next long before it would expire', async () => {
    const name = await makeLease();
    const first = await startProcess(name, 120_000);
    await waitFor('the first to lead', () => first.ask('acquire', 'x') as Promise<boolean>);
    const next = leader(name, 'next', 120_000);
    await waitFor('the next to have seen who leads', async () => next.problem() === undefined);
    expect(await next.acquire('x')).toBe(false);
    await first.end();
    await waitFor('the next to lead', () => next.acquire('x'), { timeoutMs: 30_000 });
    await next.close();
    expect((await kit.get<Stored>('lease', name)).spec?.holderIdentity).toBe('');
  });

  test('is not taken by the clock of its holder: one that is hours behind leads on', async () => {
    const name = await makeLease();
    const behind = { now: () => new Date(Date.now() - 7_200_000), expiresMs: TTL_MS, identity: 'behind' };
    const config = loadKubeConfig(kit.cluster.kubeconfigFile);
    const client = createKubeClient(config, { userAgent: 'lease-test' });
    const first = createLeaseLock({ api: createLeaseApi(client, kit.namespace, name), ...behind });
    await waitFor('it to lead', () => first.acquire('x'));
    const other = leader(name, 'other');
    const endMs = performance.now() + 1.5 * TTL_MS;
    await waitFor('its time and more to pass', async () => {
      expect([first.isLeader(), await other.acquire('x')]).toEqual([true, false]);
      return performance.now() > endMs;
    });
    await Promise.all([first.close(), other.close()]);
  });

  test("is one that IPS's own account may have, and no other", async () => {
    const kubeconfig = await loginAsIps(kit.cluster, unique('lead'));
    const settings = { kubeconfig, namespace: 'ips-system', identity: unique('own'), expiresMs: TTL_MS };
    const leader = await startContender({ ...settings, name: 'ips' });
    await waitFor('it to lead', () => leader.ask('acquire', 'x') as Promise<boolean>);
    const other = await startContender({ ...settings, name: 'other' });
    expect(await other.ask('acquire', 'x')).toBe(false);
    await Promise.all([leader.end(), other.close()]);
    const account = ['--as', 'system:serviceaccount:ips-system:ips', '-n', 'ips-system'];
    for (const [verb, lease, answer] of [
      ['get', 'lease/ips', 'yes'],
      ['update', 'lease/ips', 'yes'],
      ['get', 'lease/other', 'no'],
      ['delete', 'lease/ips', 'no'],
      ['create', 'lease', 'no'],
    ] as const)
      expect(await canI(verb, lease, account), `${verb} ${lease}`).toBe(answer);
  });

  test('that is not there is told, and nobody leads', async () => {
    const lock = leader('missing', 'me');
    await waitFor('it to say so', async () => lock.problem()?.includes('IPS_LEASE_MISSING'));
    expect(await lock.acquire('x')).toBe(false);
    await lock.close();
  });
});
