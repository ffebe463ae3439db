import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Job } from '../domain/kubernetes.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { createEndCancelled } from './end-cancelled.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** `job`: of a task that another replica has; undefined where that one has removed it. */
function replica({ planned = false } = {}) {
  const removed: string[] = [];
  const state: { job: Job | undefined } = {
    job: { metadata: { name: 'job', namespace: 'shop', uid: 'u1' } },
  };
  const end = createEndCancelled({
    client: {
      remove: async (_, namespace, name, only) => void removed.push(`${namespace}/${name} ${only?.uid}`),
    },
    jobsOf: () => (state.job ? [state.job] : []),
    mayRemove: async () => !planned,
  });
  return { end, removed, state };
}

const task = (cancelled: boolean) =>
  ({ metadata: { name: 'a' }, spec: { images: [], cancelled } }) as unknown as PrewarmTask;

it('ends the Jobs of a cancelled task that the replica that has it leaves running, a moment later', async () => {
  const { end, removed } = replica();
  const cancelled = task(true);
  expect(await end(cancelled)).toEqual({ afterMs: 500 });
  await vi.advanceTimersByTimeAsync(400);
  expect(await end(cancelled)).toEqual({ afterMs: 100 });
  expect(removed).toEqual([]);
  await vi.advanceTimersByTimeAsync(100);
  expect(await end(cancelled)).toBeUndefined();
  expect(removed).toEqual(['shop/job u1']);
});

it('leaves alone what is being removed, what is planned after all, and tasks that are not cancelled', async () => {
  const { end, removed, state } = replica({ planned: true });
  const [cancelled, goesOn] = [task(true), task(false)];
  for (const each of [cancelled, goesOn, undefined]) await end(each);
  await vi.advanceTimersByTimeAsync(500);
  for (const each of [cancelled, goesOn, undefined]) expect(await end(each)).toBeUndefined();
  state.job = { metadata: { ...state.job?.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
  expect(await end(task(true))).toBeUndefined();
  expect(removed).toEqual([]);
});
