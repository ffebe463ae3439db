import { describe, expect, it } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { PrewarmTask } from '../../src/domain/prewarm-task.ts';
import type { WatchEvent } from '../e2e/witness.ts';
import {
  type AdmissionHistory,
  type AuditEntry,
  failedAdmissions,
  LOAD_AGENT,
  leftBehind,
  slowAdmissions,
  unendedTasks,
  unkeptWishes,
  type Wish,
  type Write,
  workDoneTwice,
} from './invariants.ts';

type Status = { phase?: string; conditions?: object[]; completedIndexes?: string; failedIndexes?: string };

const IMAGE = 'registry.invalid/app:1';
const volumes = [{ name: 'image-0', image: { reference: IMAGE } }];
const labels = (task: string) => ({ 'ips/warmer': 'true', 'ips/task': task });

function pod(
  ...[type, name, node, status = {}, task = 't', job]: [string, string, string, Status?, string?, string?]
): WatchEvent {
  const ownerReferences = job ? [{ apiVersion: 'batch/v1', kind: 'Job', name: job, uid: job }] : [];
  const metadata = { name, uid: name, labels: labels(task), ownerReferences };
  return { type, object: { metadata, spec: { nodeName: node, volumes, containers: [] }, status } as never };
}

function job(type: string, name: string, nodes: string, status: Status = {}): WatchEvent {
  const template = {
    metadata: { annotations: { 'ips/nodes': nodes } },
    spec: { volumes, containers: [] },
  };
  return {
    type,
    object: { metadata: { name, uid: name, labels: labels('t') }, spec: { template }, status } as never,
  };
}

const told = (violations: { what: string }[]) => violations.map(({ what }) => what);

describe('work done twice', () => {
  const ended = { conditions: [{ type: 'Complete', status: 'True' }] };
  const ending = { conditions: [{ type: 'FailureTarget', status: 'True' }] };

  it.each<{ what: string; pods?: WatchEvent[]; jobs?: WatchEvent[]; found: string[] }>([
    {
      what: 'two warmers of a task on a node at once',
      pods: [pod('ADDED', 'one', 'a'), pod('ADDED', 'two', 'a')],
      found: ['pods one and two on a'],
    },
    {
      what: 'two that their Job has for one index, because it did not know of the first',
      pods: [pod('ADDED', 'one', 'a', {}, 't', 'job'), pod('ADDED', 'two', 'a', {}, 't', 'job')],
      found: [],
    },
    {
      what: 'two of two Jobs',
      pods: [pod('ADDED', 'one', 'a', {}, 't', 'job'), pod('ADDED', 'two', 'a', {}, 't', 'other')],
      found: ['pods one and two on a'],
    },
    { what: 'on two nodes', pods: [pod('ADDED', 'one', 'a'), pod('ADDED', 'two', 'b')], found: [] },
    {
      what: 'one after another',
      pods: [
        pod('ADDED', 'one', 'a'),
        pod('MODIFIED', 'one', 'a', { phase: 'Succeeded' }),
        pod('ADDED', 'two', 'a'),
      ],
      found: [],
    },
    {
      what: 'one deleted, and seen only by a list after a gap',
      pods: [pod('ADDED', 'one', 'a'), pod('DELETED', 'one', 'a'), pod('LISTED', 'two', 'a')],
      found: [],
    },
    {
      what: 'both there after a gap',
      pods: [pod('LISTED', 'one', 'a'), pod('LISTED', 'two', 'a')],
      found: ['pods one and two on a'],
    },
    {
      what: 'of two tasks',
      pods: [pod('ADDED', 'one', 'a', {}, 't'), pod('ADDED', 'two', 'a', {}, 'other')],
      found: [],
    },
    {
      what: 'two Jobs that name a node',
      jobs: [job('ADDED', 'one', 'a,b'), job('ADDED', 'two', 'b,c')],
      found: ['Jobs one and two on b'],
    },
    {
      what: 'two Jobs, the node ended in the first',
      jobs: [job('ADDED', 'one', 'a,b', { failedIndexes: '1' }), job('ADDED', 'two', 'b,c')],
      found: [],
    },
    {
      what: 'a Job after one ended',
      jobs: [job('ADDED', 'one', 'a', ended), job('ADDED', 'two', 'a')],
      found: [],
    },
    {
      what: 'a Job after one that makes no more pods',
      jobs: [job('ADDED', 'one', 'a', ending), job('ADDED', 'two', 'a')],
      found: [],
    },
  ])('$what: $found', ({ pods = [], jobs = [], found }) => {
    expect(told(workDoneTwice(jobs, pods, []))).toEqual(found);
  });

  it('is a Job made again under its name', () => {
    const create = (name: string, code: number): AuditEntry => ({
      verb: 'create',
      objectRef: { resource: 'jobs', namespace: 'x', name },
      responseStatus: { code },
    });
    const audit = [create('one', 201), create('one', 409), create('two', 201), create('two', 201)];
    expect(told(workDoneTwice([], [], audit))).toEqual(['Job x/two was made 2 times']);
  });
});

const task = (status: object, image = IMAGE): PrewarmTask =>
  ({
    metadata: { name: 't' },
    spec: { images: [{ image, pullPolicy: 'IfNotPresent' }] },
    status,
  }) as PrewarmTask;

describe('a task that does not end', () => {
  it.each([
    ['Warm', {}, 0],
    ['Failed', {}, 0],
    ['Pending', {}, 1],
    ['Warming', {}, 1],
    ['Warm', { batches: [{}] }, 1],
  ])('%s with %j: %i', (phase, more, count) => {
    expect(unendedTasks([task({ phase, ...more })])).toHaveLength(count);
  });
});

describe('an opted-in workload', () => {
  const wish: Wish = { name: 'w', optedIn: true, pool: 'fleet', image: IMAGE, missing: false };
  const warm = { 'ips/status': 'Warm 2/2 nodes', 'ips/task': 't' };
  const labelled = { 'ips/prewarm': 'true' };

  it.each<{
    what: string;
    wish?: Partial<Wish>;
    annotations?: object;
    labels?: object;
    image?: string;
    found: number;
  }>([
    { what: 'warm on all its nodes', found: 0 },
    { what: 'warm on too few', annotations: { ...warm, 'ips/status': 'Warm 1/1 nodes' }, found: 1 },
    { what: 'still warming', annotations: { ...warm, 'ips/status': 'Warming 1/2 nodes' }, found: 1 },
    { what: 'never labelled', labels: {}, found: 1 },
    { what: 'told of another task', annotations: { ...warm, 'ips/task': 'gone' }, found: 1 },
    { what: 'warm by what it ran before', image: 'registry.invalid/app:0', found: 1 },
    {
      what: 'with a missing image, and says so',
      wish: { missing: true },
      annotations: { ...warm, 'ips/status': 'Failed 0/2 nodes', 'ips/message': `${IMAGE}: not found` },
      found: 0,
    },
    {
      what: 'with a missing image, and silent',
      wish: { missing: true },
      annotations: { ...warm, 'ips/status': 'Failed 0/2 nodes' },
      found: 1,
    },
    { what: 'opted out, and left alone', wish: { optedIn: false }, annotations: {}, labels: {}, found: 0 },
    { what: 'opted out, and labelled still', wish: { optedIn: false }, annotations: {}, found: 1 },
    { what: 'opted out, and told of still', wish: { optedIn: false }, labels: {}, found: 1 },
  ])('$what: $found', ({ wish: more, annotations = warm, labels: own = labelled, image, found }) => {
    const deployment = { metadata: { name: 'w', annotations, labels: own } } as KubernetesObject;
    const seen = { deployments: [deployment], tasks: [task({}, image)], nodes: new Map([['fleet', 2]]) };
    expect(unkeptWishes([{ ...wish, ...more }], seen)).toHaveLength(found);
  });

  it('that is not there is a violation', () => {
    expect(unkeptWishes([wish], { deployments: [], tasks: [], nodes: new Map() })).toHaveLength(1);
  });
});

it('what is left behind is told by kind', () => {
  expect(told(leftBehind({ Jobs: ['one', 'two'], pods: [] }))).toEqual(['Jobs: one, two']);
});

describe('an admission', () => {
  const history = (more: Partial<AdmissionHistory>): AdmissionHistory => ({
    ...{ applies: [], controls: [], apiAway: [], webhookHurt: [], ...more },
  });
  const apply = { name: 'w', atMs: 10_000, ms: 20, labelled: true };
  const failed = { ...apply, error: 'reset' };
  const unlabelled = { ...apply, labelled: false };
  const meanwhile = [{ fromMs: 9_000, toMs: 10_010 }];
  const before = [{ fromMs: 8_000, toMs: 9_999 }];
  const busy = [{ name: 'control', atMs: 9_500, ms: 1_000 }];

  it.each<{ what: string; history: Partial<AdmissionHistory>; found: number }>([
    { what: 'as usual', history: { applies: [apply] }, found: 0 },
    { what: 'that failed', history: { applies: [failed] }, found: 1 },
    {
      what: 'that failed without an API server',
      history: { applies: [failed], apiAway: meanwhile },
      found: 0,
    },
    { what: 'that failed when it was back', history: { applies: [failed], apiAway: before }, found: 1 },
    {
      what: 'that failed with the webhook',
      history: { applies: [failed], webhookHurt: meanwhile },
      found: 1,
    },
    { what: 'without its label', history: { applies: [unlabelled] }, found: 1 },
    {
      what: 'without its label when others took 1 s',
      history: { applies: [unlabelled], controls: busy },
      found: 0,
    },
    { what: 'that failed when others took 1 s', history: { applies: [failed], controls: busy }, found: 1 },
    { what: 'with nobody to label it', history: { applies: [unlabelled], webhookHurt: meanwhile }, found: 0 },
  ])('$what: $found', ({ history: more, found }) => {
    expect(failedAdmissions(history(more))).toHaveLength(found);
  });

  const control = (atMs: number) => [{ name: 'control', atMs, ms: 1_000 }];

  it.each<{ what: string; took?: string; agent?: string; controls?: Write[]; found: number }>([
    { what: 'that took too little to be noted', found: 0 },
    { what: 'that timed out', took: '2.0012s', found: 0 },
    { what: 'that took 3 s', took: '3.0012s', found: 1 },
    { what: 'that took a minute', took: '1m0.5s', found: 1 },
    { what: 'that took 900 ms', took: '900.12ms', found: 0 },
    { what: 'of somebody else', took: '3s', agent: 'kubectl', found: 0 },
    { what: 'that took 6 s when others took 1 s', took: '6s', controls: control(1_000), found: 0 },
    { what: 'that took 7 s when others took 1 s', took: '7s', controls: control(1_000), found: 1 },
    { what: 'that took 3 s when others had taken 1 s', took: '3s', controls: control(-4_000), found: 1 },
  ])('$what: $found', ({ took, agent = LOAD_AGENT, controls = [], found }) => {
    const entry: AuditEntry = {
      ...{ verb: 'create', userAgent: agent, requestReceivedTimestamp: new Date(0).toISOString() },
      annotations: took ? { 'apiserver.latency.k8s.io/mutating-webhook': took } : {},
    };
    expect(slowAdmissions([entry], controls)).toHaveLength(found);
  });
});
