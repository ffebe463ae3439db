import { expect, it } from 'vitest';
import { isAboutToComplete, mayStartPods } from './job-end.ts';
import type { ContainerState, Job, Pod } from './kubernetes.ts';

const NOW = Date.parse('2026-01-01T00:01:00Z');

function pod(phase: string, state?: ContainerState): Pod {
  const containerStatuses = state ? [{ name: 'warm', state }] : [];
  return { metadata: {}, status: { phase, containerStatuses } };
}

function podOf(states: Record<string, ContainerState>): Pod {
  const containerStatuses = Object.entries(states).map(([name, state]) => ({ name, state }));
  return { metadata: {}, status: { phase: 'Running', containerStatuses } };
}

function running(seconds: number): Pod {
  return pod('Running', { running: { startedAt: new Date(NOW - seconds * 1000).toISOString() } });
}

function job(completions: number, ...conditions: string[]): Job {
  return {
    metadata: {},
    spec: { completions },
    status: { conditions: conditions.map((type) => ({ type, status: 'True' })) },
  };
}

const done = pod('Succeeded');

it.each<{ name: string; job: Job; pods: Pod[]; about: boolean }>([
  { name: 'every warmer has ended well', job: job(2), pods: [done, done], about: true },
  { name: 'one still prints its version', job: job(2), pods: [done, running(1)], about: true },
  {
    name: 'one has just ended',
    job: job(1),
    pods: [pod('Running', { terminated: { exitCode: 0 } })],
    about: true,
  },
  {
    name: 'the controller has said half of it',
    job: job(1, 'SuccessCriteriaMet'),
    pods: [done],
    about: true,
  },
  {
    name: 'the controller has said so',
    job: job(1, 'SuccessCriteriaMet', 'Complete'),
    pods: [done],
    about: false,
  },
  { name: 'the controller has given up', job: job(1, 'Failed'), pods: [done], about: false },
  { name: 'one does not come to its end', job: job(2), pods: [done, running(11)], about: false },
  {
    name: 'one cannot pull',
    job: job(2),
    pods: [done, pod('Pending', { waiting: { reason: 'ErrImagePull' } })],
    about: false,
  },
  {
    name: 'the no-op has run in every image, though a container of others goes on',
    job: job(1),
    pods: [podOf({ 'image-0': { terminated: { exitCode: 0 } }, proxy: { running: {} } })],
    about: true,
  },
  {
    name: 'the no-op cannot run in one of the images',
    job: job(1),
    pods: [
      podOf({
        'image-0': { terminated: { exitCode: 0 } },
        'image-1': { waiting: { reason: 'ErrImagePull' } },
      }),
    ],
    about: false,
  },
  { name: 'one has not begun', job: job(2), pods: [done, pod('Pending')], about: false },
  { name: 'one failed', job: job(1), pods: [pod('Failed', { terminated: { exitCode: 1 } })], about: false },
  { name: 'one was never made', job: job(2), pods: [done], about: false },
])('is $about where $name', ({ job: given, pods, about }) => {
  expect(isAboutToComplete(given, pods, NOW)).toBe(about);
});

it.each<{ name: string; job: Job; may: boolean }>([
  { name: 'is not told anything of', job: job(1), may: true },
  { name: 'is suspended', job: job(1, 'Suspended'), may: true },
  { name: 'has completed', job: job(1, 'SuccessCriteriaMet', 'Complete'), may: false },
  { name: 'is about to fail, held up by a lost node', job: job(1, 'FailureTarget'), may: false },
])('a Job that $name may start pods: $may', ({ job: one, may }) => {
  expect(mayStartPods(one)).toBe(may);
});
