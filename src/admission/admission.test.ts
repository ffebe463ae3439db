import { describe, expect, it } from 'vitest';
import { workloadTypes } from '../domain/workload-types.ts';
import { type AdmissionResult, createAdmission } from './admission.ts';

const OPTED_IN = {
  metadata: { name: 'web', annotations: { 'ips/prewarm': 'true' }, labels: {} },
  spec: { template: { spec: { containers: [{ name: 'main', image: 'app:1' }] } } },
};
const WARMER = {
  metadata: {
    labels: { 'ips/warmer': 'true', 'batch.kubernetes.io/job-completion-index': '1' },
    annotations: { 'ips/nodes': 'node-a,node-b' },
  },
  spec: {},
};

function admission() {
  const observed: { result: AdmissionResult; seconds: number }[] = [];
  const answer = createAdmission({
    types: workloadTypes([]),
    excludedNamespaces: ['kube-system', 'ips-system'],
    observe: (result, seconds) => observed.push({ result, seconds }),
  });
  function post(path: string, payload: object | string) {
    const body = Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
    const answered = answer({ method: 'POST', path, contentType: 'application/json', body });
    return { status: answered.status, body: JSON.parse(answered.body) };
  }
  return { answer, post, results: () => observed.map(({ result }) => result), observed };
}

function review(object: object, request: object = {}) {
  return {
    request: {
      uid: 'u1',
      kind: { group: 'apps', version: 'v1', kind: 'Deployment' },
      namespace: 'shop',
      object,
      ...request,
    },
  };
}

function patchOf(body: { response: { patch?: string } }): unknown {
  return JSON.parse(Buffer.from(body.response.patch ?? '', 'base64').toString() || 'null');
}

describe('/mutate', () => {
  it.each<{
    what: string;
    object: object;
    request?: object;
    response: object;
    patch: unknown;
    result: string;
  }>([
    {
      what: 'labels an opted-in workload',
      object: OPTED_IN,
      response: { uid: 'u1', allowed: true, patchType: 'JSONPatch', patch: expect.any(String) },
      patch: [{ op: 'add', path: '/metadata/labels/ips~1prewarm', value: 'true' }],
      result: 'labelled',
    },
    {
      what: 'unlabels what opted out',
      object: { metadata: { labels: { 'ips/prewarm': 'true' } } },
      response: { uid: 'u1', allowed: true, patchType: 'JSONPatch', patch: expect.any(String) },
      patch: [{ op: 'remove', path: '/metadata/labels/ips~1prewarm' }],
      result: 'unlabelled',
    },
    {
      what: 'lets through what it cannot read, with warnings',
      object: { metadata: { annotations: { 'ips/prewarm': 'ja' } } },
      response: {
        uid: 'u1',
        allowed: true,
        warnings: ['ips: annotation ips/prewarm: "ja" must be "true" or "false"; not prewarmed'],
      },
      patch: null,
      result: 'unchanged',
    },
    {
      what: 'leaves excluded namespaces alone, whoever sends them',
      object: OPTED_IN,
      request: { namespace: 'kube-system' },
      response: { uid: 'u1', allowed: true },
      patch: null,
      result: 'unchanged',
    },
    {
      what: 'lets through a review without an object',
      object: null as never,
      response: {
        uid: 'u1',
        allowed: true,
        warnings: ['ips: the review holds no object with metadata'],
      },
      patch: null,
      result: 'unchanged',
    },
    {
      what: 'patches nothing that it does not understand',
      object: { metadata: { annotations: { 'ips/prewarm': 'true' }, labels: ['x'] } },
      response: {
        uid: 'u1',
        allowed: true,
        warnings: ['ips: the labels or annotations are no object; not prewarmed'],
      },
      patch: null,
      result: 'unchanged',
    },
    {
      what: 'leaves other kinds alone',
      object: OPTED_IN,
      request: { kind: { group: 'other.example', version: 'v1', kind: 'Deployment' } },
      response: { uid: 'u1', allowed: true },
      patch: null,
      result: 'unchanged',
    },
  ])('$what', ({ object, request, response, patch, result }) => {
    const { post, results } = admission();
    const { status, body } = post('/mutate', review(object, request));
    expect(status).toBe(200);
    expect(body).toEqual({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response });
    expect(patchOf(body)).toEqual(patch);
    expect(results()).toEqual([result]);
  });

  it('takes the time-out that the API server appends to the path, and answers a dry run alike', () => {
    const { post } = admission();
    const dryRun = post('/mutate?timeout=2s', review(OPTED_IN, { dryRun: true }));
    expect(dryRun.status).toBe(200);
    expect(dryRun).toEqual(post('/mutate', review(OPTED_IN)));
  });

  it('tells how long each took, in seconds', () => {
    const { post, observed } = admission();
    post('/mutate', review(OPTED_IN));
    expect(observed[0]?.seconds).toBeGreaterThan(0);
    expect(observed[0]?.seconds).toBeLessThan(0.5);
  });
});

describe('/pin', () => {
  it('pins a warmer to the node of its index', () => {
    const { post, results } = admission();
    const { status, body } = post('/pin?timeout=5s', review(WARMER));
    expect(status).toBe(200);
    expect(patchOf(body)).toEqual([
      { op: 'add', path: '/spec/nodeName', value: 'node-b' },
      { op: 'remove', path: '/metadata/annotations/ips~1nodes' },
    ]);
    expect(results()).toEqual(['pinned']);
  });

  it.each<{ what: string; object: unknown; message: string }>([
    { what: 'no pod', object: null, message: 'ips: the review holds no object with metadata' },
    { what: 'a pod of wrong types', object: { ...WARMER, spec: 7 }, message: 'ips: the warmer has no spec' },
  ])('refuses $what', ({ object, message }) => {
    const { post, results } = admission();
    const { status, body } = post('/pin', review(object as object));
    expect(status).toBe(200);
    expect(body.response).toEqual({ uid: 'u1', allowed: false, status: { code: 403, message } });
    expect(results()).toEqual(['denied']);
  });

  it('refuses a warmer that it cannot pin', () => {
    const { post, results } = admission();
    const { status, body } = post('/pin', review({ ...WARMER, metadata: { labels: {} } }));
    expect(status).toBe(200);
    expect(body.response).toEqual({
      uid: 'u1',
      allowed: false,
      status: { code: 403, message: 'ips: the pod has no label ips/warmer=true' },
    });
    expect(results()).toEqual(['denied']);
  });

  it('pins in every namespace, since an unpinned warmer must nowhere exist', () => {
    const { post } = admission();
    const { body } = post('/pin', review(WARMER, { namespace: 'kube-system' }));
    expect(body.response).toMatchObject({ allowed: true, patchType: 'JSONPatch' });
  });
});

describe('what is no review', () => {
  it.each<{ url: string; payload: object | string }>([
    { url: '/mutate', payload: {} },
    { url: '/mutate', payload: [] },
    { url: '/pin', payload: { request: { uid: 7, object: WARMER } } },
    { url: '/pin', payload: '"x"' },
  ])('$url refuses $payload with a code and what it should have been', ({ url, payload }) => {
    const { post, results } = admission();
    expect(post(url, payload)).toEqual({
      status: 400,
      body: {
        code: 'IPS_ADMISSION_INVALID',
        message: 'not an AdmissionReview of admission.k8s.io/v1 with a request.uid',
      },
    });
    expect(results()).toEqual(['invalid']);
  });

  it.each<{ what: string; status: number; request: object }>([
    { what: 'no JSON', status: 400, request: { body: Buffer.from('{') } },
    { what: 'nothing', status: 400, request: { body: Buffer.alloc(0) } },
    { what: 'too much', status: 413, request: { body: undefined } },
    { what: 'another content type', status: 415, request: { contentType: 'application/jsonp' } },
    { what: 'no content type', status: 415, request: { contentType: undefined } },
    { what: 'another method', status: 404, request: { method: 'GET' } },
    { what: 'another path', status: 404, request: { path: '/' } },
    { what: 'a path of every object', status: 404, request: { path: '/constructor' } },
    { what: 'no path', status: 404, request: { path: undefined } },
  ])('$what is answered with $status', ({ request, status }) => {
    const { answer, results } = admission();
    const good = { method: 'POST', path: '/mutate', contentType: 'application/json' };
    const answered = answer({ ...good, body: Buffer.from(JSON.stringify(review(OPTED_IN))), ...request });
    expect(answered.status).toBe(status);
    expect(JSON.parse(answered.body)).toEqual({
      code: expect.stringMatching(/^IPS_ADMISSION_[A-Z_]+$/),
      message: expect.stringMatching(/./),
    });
    // Who asks for something else does not ask for admission.
    expect(results()).toEqual(status === 404 ? [] : ['invalid']);
  });

  it('takes JSON by any spelling of its type', () => {
    const { answer } = admission();
    const body = Buffer.from(JSON.stringify(review(OPTED_IN)));
    const contentType = 'Application/JSON; charset=utf-8';
    expect(answer({ method: 'POST', path: '/mutate', contentType, body }).status).toBe(200);
  });

  it('lets through an object that no API server would send, and says what it could not read', () => {
    const { post, results } = admission();
    const broken = {
      metadata: { annotations: { 'ips/prewarm': 'true' } },
      spec: { template: { spec: { containers: [null] } } },
    };
    const { status, body } = post('/mutate', review(broken));
    expect(status).toBe(200);
    expect(body.response).toMatchObject({ uid: 'u1', allowed: true });
    expect(body.response.warnings).toContain('ips: containers: 1 of 1 cannot be read; ignored');
    expect(results()).toEqual(['labelled']);
  });
});
