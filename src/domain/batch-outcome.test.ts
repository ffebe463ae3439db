import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BatchEvidence,
  batchOutcomes,
  type NodeOutcome,
  needsEvents,
  parseIndexes,
} from './batch-outcome.ts';
import type { ContainerStatus, Event, KubernetesNode, Pod } from './kubernetes.ts';
import type { OpenBatch, TaskImage } from './prewarm-task.ts';

const APP = 'registry.example/app:1';
const BASE = 'registry.example/base:2';
const WORKER = 'registry.k8s.io/pause:3.10';
const STARTED = '2026-01-01T00:00:00.000Z';
const MINUTE = 60_000;

function batchOf(nodes: string[], images: number[] = [0, 1]): OpenBatch {
  return { jobName: 'j', round: 1, batch: 1, attempt: 0, nodes, keys: '', images, startedAt: STARTED };
}

function images(...names: string[]): TaskImage[] {
  return names.map((image) => ({ image, pullPolicy: 'IfNotPresent' }));
}

const READY: KubernetesNode = {
  metadata: { name: 'n1' },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
};

type Evidence = Omit<Partial<BatchEvidence>, 'pods' | 'events'> & { pod?: Pod; events?: Event[] };

/** The outcome of a batch of one node, one minute after it began, its time-out 30 minutes. */
function outcome({ pod, events = [], ...evidence }: Evidence, batch = batchOf(['n1'])): NodeOutcome {
  const [only, ...others] = batchOutcomes(batch, images(APP, BASE), {
    job: undefined,
    pods: new Map(pod ? [[0, pod]] : []),
    events: new Map([['pod-uid', events]]),
    node: () => READY,
    nowMs: Date.parse(STARTED) + MINUTE,
    timeoutMs: 30 * MINUTE,
    ...evidence,
  });
  expect(others).toEqual([]);
  if (!only) throw new Error('no outcome');
  return only;
}

function podIn(state: ContainerStatus['state'], status: Pod['status'] = { phase: 'Pending' }): Pod {
  return {
    metadata: { name: 'p', uid: 'pod-uid' },
    spec: { nodeName: 'n1' },
    status: { ...status, containerStatuses: [{ name: 'warm', image: WORKER, ...(state ? { state } : {}) }] },
  };
}

const PULLING = podIn({ waiting: { reason: 'ContainerCreating' } });

function backingOff(message = ''): Pod {
  return podIn({ waiting: { reason: 'ImagePullBackOff', message } });
}

function event(reason: string, message: string): Event {
  return { metadata: {}, reason, message };
}

const pulled = (image: string) =>
  event(
    'Pulled',
    `Successfully pulled image "${image}" in 1.2s (1.3s including waiting). Image size: 742 bytes.`,
  );
const notFound = (image: string) =>
  event(
    'Failed',
    `Failed to pull image "${image}": rpc error: code = NotFound desc = failed to pull and unpack image "${image}": ${image}: not found`,
  );

const RUNNING: NodeOutcome = { state: 'running' };
const WARM: NodeOutcome = { state: 'ended', warm: [0, 1], failures: [] };

/** Every image of the batch failed for the same reason, which may pass. */
function failedAlike(reason: string, message: string): NodeOutcome {
  const failures = [APP, BASE].map((image) => ({ image, reason, message, hopeless: false }));
  return { state: 'ended', warm: [], failures };
}

describe('batchOutcomes', () => {
  it.each<{ what: string; evidence: Evidence }>([
    { what: 'has no pod yet', evidence: {} },
    {
      what: 'has a pod without any status',
      evidence: { pod: { metadata: { uid: 'pod-uid' }, spec: { nodeName: 'n1' } } },
    },
    { what: 'has a pod that waits for its turn', evidence: { pod: podIn(undefined) } },
    { what: 'is pulling', evidence: { pod: PULLING } },
    {
      what: 'was cordoned meanwhile, which keeps no pinned pod from pulling',
      evidence: { node: () => ({ ...READY, spec: { unschedulable: true } }) },
    },
    {
      what: 'is under disk pressure',
      evidence: {
        node: () => ({
          metadata: {},
          status: {
            conditions: [
              { type: 'Ready', status: 'True' },
              { type: 'DiskPressure', status: 'True' },
            ],
          },
        }),
      },
    },
    {
      what: 'is being deleted, and still works',
      evidence: { node: () => ({ ...READY, metadata: { deletionTimestamp: STARTED } }) },
    },
    {
      what: 'has exactly its time-out behind it',
      evidence: { pod: PULLING, nowMs: Date.parse(STARTED) + 30 * MINUTE },
    },
    {
      what: 'has no pod for a minute and a half',
      evidence: { nowMs: Date.parse(STARTED) + 90_000 },
    },
    {
      what: 'has no pod for a moment, since one was refused',
      evidence: { refusal: 'exceeded quota', nowMs: Date.parse(STARTED) + 15_000 },
    },
    {
      what: 'has a pod at last, though one was refused',
      evidence: { pod: PULLING, refusal: 'exceeded quota' },
    },
    {
      what: 'has a pod in which a container of others has ended',
      evidence: {
        pod: {
          ...PULLING,
          status: {
            phase: 'Pending',
            containerStatuses: [
              { name: 'proxy', state: { terminated: { exitCode: 0 } } },
              { name: 'warm', state: { waiting: { reason: 'ContainerCreating' } } },
            ],
          },
        },
      },
    },
    {
      what: 'belongs to a Job of which other indexes ended',
      evidence: { job: { metadata: {}, status: { completedIndexes: '1-3', failedIndexes: '4' } } },
    },
    {
      what: 'there is no pod, but IPS has only just begun to look',
      evidence: {
        nowMs: Date.parse(STARTED) + 30 * MINUTE,
        lookingSinceMs: Date.parse(STARTED) + 29 * MINUTE,
      },
    },
  ])('is running where the node $what', ({ evidence }) => {
    expect(outcome(evidence)).toEqual(RUNNING);
  });

  it.each<{ what: string; evidence: Evidence }>([
    { what: 'its Job counts it', evidence: { job: { metadata: {}, status: { completedIndexes: '0' } } } },
    { what: 'its pod succeeded', evidence: { pod: podIn(undefined, { phase: 'Succeeded' }) } },
    {
      what: 'its container runs, since it starts after the last image volume',
      evidence: { pod: podIn({ running: {} }) },
    },
    { what: 'its container ran to its end', evidence: { pod: podIn({ terminated: { exitCode: 0 } }) } },
    {
      what: 'its Job counts it, though the node is gone since, and the time is over',
      evidence: {
        job: { metadata: {}, status: { completedIndexes: '0' } },
        node: () => undefined,
        nowMs: Date.parse(STARTED) + 60 * MINUTE,
      },
    },
    {
      what: 'its Job counts it, though what is known of its pod is older',
      evidence: { job: { metadata: {}, status: { completedIndexes: '0' } }, pod: backingOff() },
    },
  ])('is warm where $what', ({ evidence }) => {
    expect(outcome(evidence)).toEqual(WARM);
  });

  it('names the architecture that an image has no variant for', () => {
    const message = `failed to pull and unpack image "${APP}": no match for platform in manifest: not found`;
    const events = [event('Failed', `Failed to pull image "${APP}": ${message}`), pulled(BASE)];
    const arm: KubernetesNode = {
      ...READY,
      status: { ...READY.status, nodeInfo: { architecture: 'arm64' } },
    };
    const failure = { image: APP, message, hopeless: false };
    const told = (node: KubernetesNode) => outcome({ pod: backingOff(), events, node: () => node });
    const ended = { state: 'ended', warm: [1] };
    expect(told(arm)).toEqual({ ...ended, failures: [{ ...failure, reason: 'no variant for arm64' }] });
    expect(told(READY)).toEqual({
      ...ended,
      failures: [{ ...failure, reason: 'no variant for this platform' }],
    });
  });

  it.each<{ what: string; evidence: Evidence; reason: string; message: string }>([
    {
      what: 'the kubelet refused the pod',
      evidence: {
        pod: {
          metadata: { uid: 'pod-uid' },
          spec: { nodeName: 'n1' },
          status: { phase: 'Failed', reason: 'OutOfcpu', message: 'Node did not have enough resource: cpu' },
        },
      },
      reason: 'out of cpu',
      message: 'Node did not have enough resource: cpu',
    },
    {
      what: 'the pod failed and says nothing',
      evidence: {
        pod: { metadata: { uid: 'pod-uid' }, spec: { nodeName: 'n1' }, status: { phase: 'Failed' } },
      },
      reason: 'warmer failed',
      message: '',
    },
    {
      what: 'the container was killed',
      evidence: {
        pod: podIn({ terminated: { exitCode: 137, reason: 'OOMKilled', message: 'out of memory' } }),
      },
      reason: 'OOMKilled',
      message: 'out of memory',
    },
    {
      what: 'the container failed and says nothing',
      evidence: { pod: podIn({ terminated: { exitCode: 1 } }) },
      reason: 'warmer failed',
      message: 'exit code 1',
    },
    {
      what: 'the pod was made without a node, and no scheduler takes it',
      evidence: { pod: { metadata: { uid: 'pod-uid' }, spec: {}, status: { phase: 'Pending' } } },
      reason: 'not pinned',
      message: 'its pod was made while the webhook configuration of IPS was missing',
    },
    { what: 'the node is gone', evidence: { node: () => undefined }, reason: 'node gone', message: '' },
    {
      what: 'the node died while it pulled',
      evidence: {
        pod: PULLING,
        node: () => ({ metadata: {}, status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } }),
      },
      reason: 'node is not ready',
      message: '',
    },
    {
      what: 'the node died while it was being deleted',
      evidence: {
        node: () => ({
          metadata: { deletionTimestamp: STARTED },
          status: { conditions: [{ type: 'Ready', status: 'Unknown' }] },
        }),
      },
      reason: 'node is not ready',
      message: '',
    },
    {
      what: 'the pod is gone and the Job counts it as failed',
      evidence: { job: { metadata: {}, status: { failedIndexes: '0' } } },
      reason: 'warmer failed',
      message: 'its pod is gone and its Job counts it as failed',
    },
    {
      what: 'the time is over',
      evidence: {
        pod: PULLING,
        nowMs: Date.parse(STARTED) + 30 * MINUTE + 1,
      },
      reason: 'timed out',
      message: 'not there after 1800 s',
    },
    {
      what: 'the Job controller may not make its pod',
      evidence: {
        nowMs: Date.parse(STARTED) + 15_001,
        refusal: 'Error creating: pods "ips-1-0-x7k2" is forbidden: exceeded quota: pods',
      },
      reason: 'no warmer: exceeded quota: pods',
      message: '',
    },
    {
      what: 'there is no pod after a minute and a half, and nobody says why',
      evidence: { nowMs: Date.parse(STARTED) + 90_001 },
      reason: 'no warmer: the Job controller made no pod for it',
      message: '',
    },
    {
      what: 'the warmer cannot be run',
      evidence: { pod: podIn({ waiting: { reason: 'RunContainerError', message: 'exec format error' } }) },
      reason: 'RunContainerError',
      message: 'exec format error',
    },
    {
      what: 'the warmer is not allowed',
      evidence: { pod: podIn({ waiting: { reason: 'CreateContainerConfigError' } }) },
      reason: 'CreateContainerConfigError',
      message: '',
    },
    {
      what: 'the warmer cannot be started',
      evidence: { pod: podIn({ waiting: { reason: 'CreateContainerError', message: 'no such mount' } }) },
      reason: 'CreateContainerError',
      message: 'no such mount',
    },
  ])('is failed where $what', ({ evidence, reason, message }) => {
    expect(outcome(evidence)).toEqual(failedAlike(reason, message));
  });

  it('says for each node of a batch what became of it, in their order, of the images that the batch had', () => {
    const pods = new Map([
      [1, podIn({ waiting: { reason: 'ContainerCreating' } })],
      [3, podIn({ terminated: { exitCode: 2 } })],
    ]);
    const outcomes = batchOutcomes(batchOf(['a', 'b', 'c', 'd'], [1]), images(APP, BASE), {
      job: { metadata: {}, status: { completedIndexes: '0' } },
      pods,
      events: new Map(),
      node: (name) => (name === 'c' ? undefined : READY),
      nowMs: Date.parse(STARTED),
      timeoutMs: 1,
    });
    const failed = (reason: string, message: string) => ({
      state: 'ended',
      warm: [],
      failures: [{ image: BASE, reason, message, hopeless: false }],
    });
    expect(outcomes).toEqual([
      { state: 'ended', warm: [1], failures: [] },
      { state: 'running' },
      failed('node gone', ''),
      failed('warmer failed', 'exit code 2'),
    ]);
  });
});

describe('a warmer that cannot pull', () => {
  it.each(['ErrImagePull', 'ImagePullBackOff', 'InvalidImageName', 'ErrImageNeverPull', 'ImageInspectError'])(
    'needs its Events to be read while it waits with %s',
    (reason) => {
      expect(needsEvents(podIn({ waiting: { reason } }))).toBe(true);
    },
  );

  it.each<{ what: string; pod: Pod }>([
    { what: 'it waits for something else', pod: podIn({ waiting: { reason: 'ContainerCreating' } }) },
    { what: 'it waits for no reason', pod: podIn({ waiting: {} }) },
    { what: 'it runs', pod: podIn({ running: {} }) },
    { what: 'it has no status', pod: { metadata: {} } },
  ])('needs no Events where $what', ({ pod }) => {
    expect(needsEvents(pod)).toBe(false);
  });

  it.each<{ what: string; events: Event[]; warm: number[]; failed: string[] }>([
    { what: 'one is not found', events: [notFound(BASE), pulled(APP)], warm: [0], failed: [BASE] },
    { what: 'both are not found', events: [notFound(APP), notFound(BASE)], warm: [], failed: [APP, BASE] },
    {
      what: 'one was there already',
      events: [event('Pulled', `Container image "${APP}" already present on machine`), notFound(BASE)],
      warm: [0],
      failed: [BASE],
    },
    {
      what: 'one was there already, from secrets that the pod may use',
      events: [
        event(
          'Pulled',
          `Container image "${BASE}" already present on machine and can be accessed by the pod`,
        ),
        notFound(APP),
      ],
      warm: [1],
      failed: [APP],
    },
    {
      what: 'one failed at first and came at the second try',
      events: [notFound(APP), pulled(APP), notFound(BASE)],
      warm: [0],
      failed: [BASE],
    },
    {
      what: 'the kubelet folded an Event',
      events: [
        event('Pulled', `(combined from similar events): Successfully pulled image "${APP}" in 1s`),
        event('Failed', `(combined from similar events): Failed to pull image "${BASE}": not found`),
      ],
      warm: [0],
      failed: [BASE],
    },
    {
      what: 'other Events and other images are told of as well',
      events: [
        event('Pulling', `Pulling image "${APP}"`),
        event('Failed', 'Error: ErrImagePull'),
        event('BackOff', `Back-off pulling image "${APP}": ErrImagePull: not found`),
        { metadata: {} },
        pulled('registry.example/base:20'),
        pulled(APP),
        notFound(BASE),
      ],
      warm: [0],
      failed: [BASE],
    },
  ])('ends with each image on its own where $what', ({ events, warm, failed }) => {
    const ended = outcome({ pod: backingOff(), events });
    expect(ended).toMatchObject({ state: 'ended', warm });
    expect(failuresOf(ended)).toEqual(failed.map((image) => `${image}: not found, hopeless`));
  });

  it('tells the words of the registry', () => {
    const failed = event('Failed', `Failed to pull image "${APP}": 429 Too Many Requests:\nslow down`);
    expect(outcome({ pod: backingOff(), events: [failed, pulled(BASE)] })).toEqual({
      state: 'ended',
      warm: [1],
      failures: [
        { image: APP, reason: 'rate limited', message: '429 Too Many Requests:\nslow down', hopeless: false },
      ],
    });
  });

  it('is asked only for the images of its batch', () => {
    const ended = outcome({ pod: backingOff(), events: [notFound(BASE)] }, batchOf(['n1'], [1]));
    expect(ended).toMatchObject({ state: 'ended', warm: [], failures: [{ image: BASE }] });
  });

  it.each<{ what: string; events: Event[] }>([
    { what: 'there are none yet', events: [] },
    { what: 'one image is not told of yet', events: [notFound(BASE)] },
    {
      what: 'the image is only said to be pulled',
      events: [event('Pulling', `Pulling image "${APP}"`), notFound(BASE)],
    },
  ])('is looked at again while its Events are on their way: $what', ({ events }) => {
    const podJustNow = outcome({ pod: backingOff(), events, nowMs: Date.parse(STARTED) + 1000 });
    expect(podJustNow).toEqual(RUNNING);
  });

  it('blames the worker image where every other one is there, and never calls that hopeless', () => {
    const pod = backingOff(`Back-off pulling image "${WORKER}": ErrImagePull: not found`);
    expect(outcome({ pod, events: [pulled(APP), pulled(BASE), notFound(WORKER)] })).toEqual({
      state: 'ended',
      warm: [0, 1],
      failures: [
        {
          image: WORKER,
          reason: 'not found',
          message: 'ErrImagePull: not found',
          hopeless: false,
        },
      ],
    });
  });

  it.each<{ what: string; evidence: Evidence; reason: string; message: string }>([
    {
      what: 'the time is over',
      evidence: { nowMs: Date.parse(STARTED) + 31 * MINUTE },
      reason: 'timed out',
      message: 'not there after 1800 s',
    },
    { what: 'its node is gone', evidence: { node: () => undefined }, reason: 'node gone', message: '' },
    {
      what: 'its node is dead, and the pod will never change again',
      evidence: {
        node: () => ({ metadata: {}, status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } }),
      },
      reason: 'node is not ready',
      message: '',
    },
  ])('ends without Events that tell of each image where $what', ({ evidence, reason, message }) => {
    expect(outcome({ pod: backingOff(), events: [], ...evidence })).toEqual(failedAlike(reason, message));
  });

  describe('of which no Events come', () => {
    const appFailed = `Back-off pulling image "${APP}": ErrImagePull: ${APP}: not found`;
    const workerFailed = `Back-off pulling image "${WORKER}": ErrImagePull: not found`;
    const afterMs = (ms: number) => ({ nowMs: Date.parse(STARTED) + ms });

    it.each<{ what: string; message: string; events: Event[]; warm: number[]; failed: string[] }>([
      {
        what: 'the image that its status names',
        message: appFailed,
        events: [],
        warm: [],
        failed: [`${APP}: not found, hopeless`],
      },
      {
        what: 'the image that its status names, beside what is known of others',
        message: appFailed,
        events: [pulled(BASE)],
        warm: [1],
        failed: [`${APP}: not found, hopeless`],
      },
      {
        what: 'what the Events say of it, which is more than its status does',
        message: appFailed,
        events: [event('Failed', `Failed to pull image "${APP}": 429 Too Many Requests`)],
        warm: [],
        failed: [`${APP}: rate limited, may pass`],
      },
      {
        what: 'the worker image, where its status names that',
        message: workerFailed,
        events: [pulled(APP)],
        warm: [0],
        failed: [`${WORKER}: not found, may pass`],
      },
    ])('ends after a minute with $what', ({ message, events, warm, failed }) => {
      const ended = outcome({ pod: backingOff(message), events, ...afterMs(60_001) });
      expect(ended).toMatchObject({ state: 'ended', warm });
      expect(failuresOf(ended)).toEqual(failed);
    });

    it.each<{ what: string; message: string; ms: number }>([
      { what: 'before a minute is over', message: appFailed, ms: 60_000 },
      { what: 'where its status names no image', message: 'back-off', ms: 120_000 },
    ])('is running $what', ({ message, ms }) => {
      expect(outcome({ pod: backingOff(message), events: [], ...afterMs(ms) })).toEqual(RUNNING);
    });

    it('blames nobody where one of its images is named whose Event is on its way', () => {
      const folded = event(
        'Pulled',
        `(combined from similar events): Successfully pulled image "${BASE}" in 1s`,
      );
      expect(outcome({ pod: backingOff(appFailed), events: [folded], ...afterMs(5_000) })).toEqual(RUNNING);
    });

    it('ends at once where the kubelet folded some of them', () => {
      const folded = event('Pulled', '(combined from similar events): Successfully pulled image "x" in 1s');
      const ended = outcome({ pod: backingOff(), events: [folded, notFound(BASE)], ...afterMs(5_000) });
      expect(failuresOf(ended)).toEqual([`${BASE}: not found, hopeless`]);
    });
  });

  it('ends with an invalid name, of which the kubelet tells in an Event of another kind', () => {
    // kubelet, image_manager.go: FailedToInspectImage is "InspectFailed".
    const message = `Failed to apply default image tag "${BASE}": couldn't parse image name "${BASE}": invalid reference format`;
    const pod = podIn({ waiting: { reason: 'InvalidImageName', message } });
    const ended = outcome({ pod, events: [pulled(APP), event('InspectFailed', message)] });
    expect(ended).toMatchObject({ state: 'ended', warm: [0] });
    expect(failuresOf(ended)).toEqual([`${BASE}: invalid name, hopeless`]);
  });

  it('blames the worker image also where the kubelet folded the Events of many that arrived', () => {
    const good = Array.from({ length: 14 }, (_, index) => `registry.example/part-${index}:1`);
    const events = [
      ...good.slice(0, 9).map(pulled),
      event('Pulled', `(combined from similar events): Successfully pulled image "${good[13]}" in 1s`),
      notFound(WORKER),
    ];
    const [ended] = batchOutcomes(batchOf(['n1'], [...good.keys()]), images(...good), {
      job: undefined,
      pods: new Map([[0, backingOff(`Back-off pulling image "${WORKER}": ErrImagePull: not found`)]]),
      events: new Map([['pod-uid', events]]),
      node: () => READY,
      nowMs: Date.parse(STARTED) + 5 * MINUTE,
      timeoutMs: 30 * MINUTE,
    });
    expect(ended).toMatchObject({ state: 'ended', failures: [{ image: WORKER, hopeless: false }] });
  });

  it('ends with the image that failed where the kubelet folded the Events of many that arrived', () => {
    // client-go, events_cache.go: from the tenth on, Events of one reason are one Event, with the message of the last.
    const good = Array.from({ length: 14 }, (_, index) => `registry.example/part-${index}:1`);
    const events = [
      ...good.slice(0, 9).map(pulled),
      event('Pulled', `(combined from similar events): Successfully pulled image "${good[13]}" in 1s`),
      notFound(BASE),
    ];
    const all = [...good, BASE];
    const [ended] = batchOutcomes(batchOf(['n1'], [...all.keys()]), images(...all), {
      job: undefined,
      pods: new Map([[0, backingOff()]]),
      events: new Map([['pod-uid', events]]),
      node: () => READY,
      nowMs: Date.parse(STARTED) + 5 * MINUTE,
      timeoutMs: 30 * MINUTE,
    });
    expect(ended?.state).toBe('ended');
    expect(ended && failuresOf(ended)).toEqual([`${BASE}: not found, hopeless`]);
  });
});

function failuresOf(outcome: NodeOutcome): string[] {
  if (outcome.state !== 'ended') return [];
  return outcome.failures.map(
    ({ image, reason, hopeless }) => `${image}: ${reason}, ${hopeless ? 'hopeless' : 'may pass'}`,
  );
}

describe('parseIndexes', () => {
  it.each<{ text: string | undefined; indexes: number[] }>([
    { text: undefined, indexes: [] },
    { text: '', indexes: [] },
    { text: '0', indexes: [0] },
    { text: '0,3-5,7', indexes: [0, 3, 4, 5, 7] },
    { text: '0-49', indexes: Array.from({ length: 50 }, (_, index) => index) },
    { text: '9,10', indexes: [9, 10] },
    { text: 'x', indexes: [] },
  ])('reads $text', ({ text, indexes }) => {
    expect([...parseIndexes(text)]).toEqual(indexes);
  });

  it('reads back every set of ranges', () => {
    const range = fc.tuple(fc.nat({ max: 9 }), fc.nat({ max: 4 }));
    fc.assert(
      fc.property(fc.array(range), (ranges) => {
        const parts: string[] = [];
        const expected: number[] = [];
        let next = 0;
        for (const [gap, length] of ranges) {
          const from = next + gap;
          parts.push(length === 0 ? `${from}` : `${from}-${from + length}`);
          for (let index = from; index <= from + length; index += 1) expected.push(index);
          next = from + length + 2;
        }
        expect([...parseIndexes(parts.join(','))]).toEqual(expected);
      }),
    );
  });
});
