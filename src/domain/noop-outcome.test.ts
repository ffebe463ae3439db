import { describe, expect, it } from 'vitest';
import { batchOutcomes, needsEvents } from './batch-outcome.ts';
import type { ContainerState, KubernetesNode, Pod } from './kubernetes.ts';
import type { OpenBatch, TaskImage } from './prewarm-task.ts';

const APP = 'registry.example/app:1';
const BASE = 'registry.example/base:2';
const NOOP = 'registry.example/noop:1';
const STARTED = '2026-01-01T00:00:00.000Z';
const IMAGES: TaskImage[] = ['registry.example/left-out:1', APP, BASE].map((image) => ({
  image,
  pullPolicy: 'IfNotPresent',
}));
const READY: KubernetesNode = {
  metadata: { name: 'n1' },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
};
const BATCH: OpenBatch = {
  ...{ jobName: 'j', round: 1, batch: 1, attempt: 0, strategy: 'injected-noop' },
  ...{ nodes: ['n1'], keys: '', images: [1, 2], startedAt: STARTED },
};

type Case = { app?: ContainerState; base?: ContainerState; noop?: ContainerState; status?: Pod['status'] };

/** A warmer of two images; what is said of none of its containers is that they wait for the first. */
function warmer({ app, base, noop, status }: Case): Pod {
  const initializing: ContainerState = { waiting: { reason: 'PodInitializing' } };
  return {
    metadata: { name: 'p', uid: 'u' },
    spec: { nodeName: 'n1' },
    status: {
      phase: 'Pending',
      initContainerStatuses: [{ name: 'noop', image: NOOP, state: noop ?? { terminated: { exitCode: 0 } } }],
      containerStatuses: [
        { name: 'proxy', state: { terminated: { exitCode: 0 } } },
        { name: 'image-1', image: BASE, state: base ?? initializing },
        { name: 'image-0', image: APP, state: app ?? initializing },
      ],
      ...status,
    },
  };
}

const ENDED: ContainerState = { terminated: { exitCode: 0, reason: 'Completed' } };

function notFound(image: string, reason = 'ErrImagePull'): ContainerState {
  const words = `rpc error: code = NotFound desc = failed to pull and unpack image "${image}": ${image}: not found`;
  const message =
    reason === 'ErrImagePull' ? words : `Back-off pulling image "${image}": ErrImagePull: ${words}`;
  return { waiting: { reason, message } };
}

function outcome(
  pod: Pod | undefined,
  evidence: { ms?: number; node?: () => KubernetesNode | undefined } = {},
): string {
  const [only] = batchOutcomes(BATCH, IMAGES, {
    job: undefined,
    pods: new Map(pod ? [[0, pod]] : []),
    events: new Map(),
    node: evidence.node ?? (() => READY),
    nowMs: Date.parse(STARTED) + (evidence.ms ?? 1000),
    timeoutMs: 60_000,
  });
  if (only?.state !== 'ended') return 'running';
  const failures = only.failures.map(
    ({ image, reason, hopeless }) => `${image}: ${reason}${hopeless ? ', hopeless' : ''}`,
  );
  return [`warm ${only.warm}`, ...failures].join('; ');
}

describe('a warmer with the injected no-op', () => {
  it.each<{ what: string; warmer: Case; told: string }>([
    { what: 'waits for the no-op', warmer: { noop: { waiting: {} } }, told: 'running' },
    { what: 'pulls', warmer: { app: { waiting: { reason: 'ContainerCreating' } } }, told: 'running' },
    { what: 'has one image, and pulls the other', warmer: { app: ENDED }, told: 'running' },
    {
      what: 'cannot pull one image, and has not tried the other',
      warmer: { app: notFound(APP) },
      told: 'running',
    },
    { what: 'ran in each image', warmer: { app: ENDED, base: ENDED }, told: 'warm 1,2' },
    {
      what: 'ran in each image, and waits for a container of others',
      warmer: { app: ENDED, base: { running: {} }, status: { phase: 'Running' } },
      told: 'warm 1,2',
    },
    {
      what: 'cannot pull one image',
      warmer: { app: notFound(APP), base: ENDED },
      told: `warm 2; ${APP}: not found, hopeless`,
    },
    {
      what: 'cannot pull any image',
      warmer: { app: notFound(APP), base: notFound(BASE, 'ImagePullBackOff') },
      told: `warm ; ${APP}: not found, hopeless; ${BASE}: not found, hopeless`,
    },
    {
      what: 'meets a registry that has enough',
      warmer: { app: { waiting: { reason: 'ErrImagePull', message: '429 Too Many Requests' } }, base: ENDED },
      told: `warm 2; ${APP}: rate limited`,
    },
    {
      what: 'meets an invalid name',
      warmer: {
        app: { waiting: { reason: 'InvalidImageName', message: "couldn't parse image name" } },
        base: ENDED,
      },
      told: `warm 2; ${APP}: invalid name, hopeless`,
    },
    {
      what: 'cannot be started in an image, which is there for that',
      warmer: {
        app: { terminated: { exitCode: 128, reason: 'StartError', message: 'permission denied' } },
        base: ENDED,
        status: { phase: 'Failed' },
      },
      told: 'warm 1,2',
    },
    {
      what: 'was not started in an image yet, of which the container is made',
      warmer: { app: { waiting: { reason: 'RunContainerError' } }, base: ENDED },
      told: 'warm 1,2',
    },
    {
      what: 'cannot have a container made from an image',
      warmer: { app: { waiting: { reason: 'CreateContainerError', message: 'no snapshot' } }, base: ENDED },
      told: `warm 2; ${APP}: CreateContainerError`,
    },
    {
      what: 'was evicted before it came to an image',
      warmer: {
        app: ENDED,
        base: { terminated: { exitCode: 137, reason: 'ContainerStatusUnknown' } },
        status: { phase: 'Failed', reason: 'Evicted' },
      },
      told: `warm 1; ${BASE}: evicted`,
    },
    {
      what: 'was refused by the kubelet',
      warmer: {
        status: {
          phase: 'Failed',
          reason: 'OutOfcpu',
          initContainerStatuses: [],
          containerStatuses: [],
        },
      },
      told: `warm ; ${APP}: out of cpu; ${BASE}: out of cpu`,
    },
    {
      what: 'cannot pull the no-op: that image is named, and it is never hopeless',
      warmer: { noop: notFound(NOOP) },
      told: `warm ; ${NOOP}: not found`,
    },
    {
      what: 'cannot have the no-op made a container',
      warmer: { noop: { waiting: { reason: 'CreateContainerConfigError' } } },
      told: `warm ; ${APP}: CreateContainerConfigError; ${BASE}: CreateContainerConfigError`,
    },
    {
      what: 'cannot copy the no-op',
      warmer: { noop: { terminated: { exitCode: 1 } }, status: { phase: 'Failed' } },
      told: `warm ; ${APP}: no-op not copied; ${BASE}: no-op not copied`,
    },
  ])('that $what: $told', ({ warmer: states, told }) => {
    expect(outcome(warmer(states))).toBe(told);
  });

  it('keeps what arrived when the time is over', () => {
    const pulling = warmer({ app: ENDED, base: { waiting: { reason: 'ContainerCreating' } } });
    expect(outcome(pulling, { ms: 60_000 })).toBe('running');
    expect(outcome(pulling, { ms: 60_001 })).toBe(`warm 1; ${BASE}: timed out`);
  });

  it('keeps what arrived and what failed when its node dies', () => {
    const pulling = warmer({ app: notFound(APP) });
    expect(outcome(pulling, { node: () => undefined })).toBe(
      `warm ; ${APP}: not found, hopeless; ${BASE}: node gone`,
    );
  });

  it('is running while there is no pod yet', () => {
    expect(outcome(undefined)).toBe('running');
  });

  it('ends where no node was set', () => {
    expect(outcome({ ...warmer({}), spec: {} })).toBe(`warm ; ${APP}: not pinned; ${BASE}: not pinned`);
  });

  it('needs no Events: each image has a status of its own', () => {
    expect(needsEvents(warmer({ app: notFound(APP), noop: notFound(NOOP) }))).toBe(false);
  });

  it('says what the no-op said', () => {
    const message = 'noop: cannot write /ips/noop: error 28\n';
    const pod = warmer({ noop: { terminated: { exitCode: 1, message } }, status: { phase: 'Failed' } });
    const [ended] = batchOutcomes(BATCH, IMAGES, {
      ...{ job: undefined, pods: new Map([[0, pod]]), events: new Map(), node: () => READY },
      ...{ nowMs: Date.parse(STARTED), timeoutMs: 60_000 },
    });
    expect(ended).toMatchObject({ failures: [{ message: message.trim() }, { message: message.trim() }] });
  });
});
