import { expect, it, onTestFinished, vi } from 'vitest';
import type { Lease } from '../domain/kubernetes.ts';
import { createLeaseLock, type LeaseApi } from './lease-lock.ts';

/** A Lease as the API server keeps it; while `hangs`, no call is answered. */
function leaseServer() {
  let lease: Lease = { metadata: { name: 'ips', resourceVersion: '1' } };
  const server = { hangs: false };
  const answered = <T>(answer: () => T) =>
    server.hangs ? new Promise<T>(() => {}) : Promise.resolve().then(answer);
  const put = (next: Lease) => {
    const resourceVersion = String(Number(lease.metadata.resourceVersion) + 1);
    lease = { ...next, metadata: { ...next.metadata, resourceVersion } };
    return lease;
  };
  const api: LeaseApi = {
    read: () => answered(() => lease),
    replace: (next) =>
      answered(() =>
        next.metadata.resourceVersion === lease.metadata.resourceVersion ? put(next) : undefined,
      ),
    watch: (_, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
  };
  return {
    api,
    server,
    holder: () => lease.spec?.holderIdentity,
    hold: (by: string) => put({ ...lease, spec: { holderIdentity: by } }),
  };
}

function replica(api: LeaseApi) {
  const lock = createLeaseLock({ api, identity: 'one', now: () => new Date(), expiresMs: 1000 });
  onTestFinished(() => lock.close());
  return lock;
}

it('does not wait at the end for an API server that does not answer', async () => {
  const { api, server } = leaseServer();
  const lock = replica(api);
  await vi.waitFor(() => expect(lock.isLeader()).toBe(true));
  server.hangs = true;
  await vi.waitFor(() => expect(lock.isLeader()).toBe(false), { timeout: 5000 });
  const startMs = performance.now();
  await lock.close();
  expect(performance.now() - startMs).toBeLessThan(5000);
});

it('gives the lease back at the end', async () => {
  const { api, holder } = leaseServer();
  const lock = replica(api);
  await vi.waitFor(() => expect(holder()).toBe('one'));
  await lock.close();
  expect(holder()).toBe('');
});

it('holds no name any more when it leads again after another', async () => {
  const { api, hold } = leaseServer();
  const lock = replica(api);
  await vi.waitFor(() => expect(lock.isLeader()).toBe(true));
  await lock.acquire('x');
  expect(lock.holds('x')).toBe(true);
  // Another came and went while this process was stopped.
  hold('other');
  hold('');
  for (const startMs = performance.now(); performance.now() < startMs + 1500; );
  expect(lock.isLeader()).toBe(false);
  await vi.waitFor(() => expect(lock.isLeader()).toBe(true), { timeout: 5000 });
  expect(lock.holds('x')).toBe(false);
});
