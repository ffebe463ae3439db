import assert from 'node:assert/strict';
import jsonPatch, { type Operation } from 'fast-json-patch';
import {
  type AdmissionOptions,
  type AdmissionResult,
  createAdmission,
} from '../../src/admission/admission.ts';
import { createAdmissionServer } from '../../src/admission/server.ts';
import { createAuthority, issueServingCertificate } from '../../src/certs/authority.ts';
import { parseImageReference } from '../../src/domain/image-reference.ts';
import { compileNodeMatcher } from '../../src/domain/node-matching.ts';
import { taskSpec } from '../../src/domain/task-spec.ts';
import { planOf, workloadOf } from '../../src/domain/workload.ts';
import {
  DEFAULT_CUSTOM_WORKLOADS,
  readCustomWorkloads,
  typeOf,
  workloadTypes,
} from '../../src/domain/workload-types.ts';
import type { Case } from './reviews.ts';

/** What has to hold for every request, whatever stands in it. */

const TYPES = workloadTypes(readCustomWorkloads(DEFAULT_CUSTOM_WORKLOADS).types);

/** Bytes that a review may have. */
const MOST = 4 << 20;

type Fields = Record<string, unknown>;
type Response = {
  uid: string;
  allowed: boolean;
  patchType?: string;
  patch?: string;
  warnings?: string[];
  status?: { code: number; message: string };
};
export type Answer = { status: number; body: string };

/** Admission as IPS runs it, asked without a socket, or by whoever asks its server through one. */
export type Subject = {
  ask(request: Case): Promise<Answer>;
  /** Of every answer so far. */
  results: Map<AdmissionResult, number>;
  port(): Promise<number>;
  close(): Promise<void>;
};

export async function createSubject(): Promise<Subject> {
  const now = new Date();
  const authority = await createAuthority({ commonName: 'Fuzz', now, validityDays: 2 });
  const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };
  const pair = await issueServingCertificate({ authority, ...names, now, validityDays: 1 });
  const results: Subject['results'] = new Map();
  const options: AdmissionOptions = {
    excludedNamespaces: ['kube-system'],
    types: TYPES,
    observe(result, _seconds, error) {
      results.set(result, (results.get(result) ?? 0) + 1);
      if (error) throw error;
    },
  };
  const answer = createAdmission(options);
  const certificates = { current: () => ({ ...pair, ca: authority.cert }), onChange() {}, close() {} };
  const server = createAdmissionServer({ ...options, certificates, drainMs: 0 });
  return {
    results,
    async ask({ path, body }) {
      const bytes = Buffer.from(body);
      const asked = { method: 'POST', path, contentType: 'application/json' };
      return answer({ ...asked, body: bytes.length > MOST ? undefined : bytes });
    },
    async port() {
      return Number(new URL(await server.listen({ port: 0, host: '127.0.0.1' })).port);
    },
    close: () => server.close(),
  };
}

/** In characters: what is asked once, since it takes long. */
const LARGE = 50_000;

/** Fails with what does not hold; `ask` gives the same answer to the same request, or that is what does not hold. */
export async function check(request: Case, ask: Subject['ask']): Promise<void> {
  const answer = await ask(request);
  const review = parsed(request.body);
  // What is broken within managed fields may be passed over with them.
  if (review === undefined && answer.status === 200 && request.body.includes('"managedFields":[')) return;
  const uid = fields(fields(review)?.['request'])?.['uid'];
  if (typeof uid !== 'string') {
    assert.equal(answer.status, Buffer.byteLength(request.body) > MOST ? 413 : 400, 'no review is refused');
    assert.ok(text(fields(parsed(answer.body))?.['message']), 'a refusal says why');
    return;
  }
  assert.equal(answer.status, 200, `a valid review is answered: ${answer.body.slice(0, 500)}`);
  const response = responseOf(answer, uid);
  if (request.body.length < LARGE)
    assert.deepEqual(await ask(request), answer, 'the same has the same answer');
  const admission = fields(fields(review)?.['request']) ?? {};
  if (request.path === '/mutate') await checkMutation(request, admission, response, ask);
  else await checkPinning(request, response, ask);
  checkPlan(admission);
}

function responseOf({ body }: Answer, uid: string): Response {
  const review = JSON.parse(body) as { apiVersion: string; kind: string; response: Response };
  assert.equal(review.apiVersion, 'admission.k8s.io/v1');
  assert.equal(review.kind, 'AdmissionReview');
  const { response } = review;
  assert.equal(response.uid, uid);
  assert.equal(response.patchType, response.patch === undefined ? undefined : 'JSONPatch');
  checkWarnings(response.warnings ?? []);
  return response;
}

/** As the API server has it: what is not legal in a header is dropped, and kubectl's user never sees it. */
function checkWarnings(warnings: string[]): void {
  assert.ok(warnings.length <= 12, 'few enough to be read');
  assert.ok(warnings.reduce((sum, each) => sum + each.length, 0) < 4096);
  for (const each of warnings) {
    assert.match(each, /^ips: \S/);
    assert.ok(each.length <= 256 && each.isWellFormed() && !/\p{Cc}/u.test(each), `no header text: ${each}`);
  }
}

function patchOf({ patch }: Response): Operation[] {
  if (patch === undefined) return [];
  const bytes = Buffer.from(patch, 'base64');
  assert.equal(bytes.toString('base64'), patch, 'valid base64');
  const operations = JSON.parse(bytes.toString('utf8')) as Operation[];
  assert.ok(Array.isArray(operations) && operations.length > 0, 'a patch is no patch where it is empty');
  return operations;
}

/** Applies a patch as strictly as the API server does; gives the review with the object that it makes. */
function patched(request: Case, operations: Operation[]): { review: Fields; object: Fields } {
  const review = parsed(request.body) as { request: Fields };
  const object = review.request['object'] as Fields;
  // In place: a copy of what is nested deeper than the stack goes cannot be made.
  jsonPatch.applyPatch(object, operations, true, true);
  return { review, object };
}

const OWN_ANNOTATIONS = /^\/metadata\/annotations\/ips~1(status|task|last-warmed|message)$/;

async function checkMutation(
  request: Case,
  before: Fields,
  response: Response,
  ask: Subject['ask'],
): Promise<void> {
  assert.equal(response.allowed, true, 'nothing is ever refused');
  const operations = patchOf(response);
  const metadata = fields(fields(before['object'])?.['metadata']);
  for (const operation of operations) {
    const { op, path } = operation;
    if (path === '/metadata/labels') {
      assert.deepEqual(operation, { op: 'add', path, value: {} });
      assert.ok(
        metadata?.['labels'] === undefined || metadata['labels'] === null,
        'labels are never replaced',
      );
    } else if (op === 'add') {
      assert.deepEqual(operation, { op, path: '/metadata/labels/ips~1prewarm', value: 'true' });
    } else {
      assert.equal(op, 'remove');
      if (path !== '/metadata/labels/ips~1prewarm') assert.match(path, OWN_ANNOTATIONS);
    }
  }
  assert.equal(new Set(operations.map(({ path }) => path)).size, operations.length, 'each path once');
  if (operations.length === 0) return;
  const { review, object } = patched(request, operations);
  const after = fields(object['metadata']);
  for (const name of ['labels', 'annotations']) {
    const others = (of: Fields | undefined) =>
      Object.entries(fields(of?.[name]) ?? {}).filter(([key]) => !key.startsWith('ips/'));
    assert.equal(others(after).length, others(metadata).length, `all other ${name} stay`);
  }
  const again = serialized(review);
  if (again === undefined) return;
  const second = responseOf(await ask({ path: '/mutate', body: again }), response.uid);
  assert.equal(second.patch, undefined, 'what is patched is not patched again');
  // A number that no float is has become null.
  const same = operations.some(({ op }) => op === 'add') && !/\de(400|999)/.test(request.body);
  if (same) assert.deepEqual(second.warnings, response.warnings);
}

const NODE_NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

async function checkPinning(request: Case, response: Response, ask: Subject['ask']): Promise<void> {
  const operations = patchOf(response);
  if (!response.allowed) {
    assert.equal(operations.length, 0);
    assert.equal(response.status?.code, 403);
    const message = response.status?.message ?? '';
    assert.match(message, /^ips: \S/);
    assert.ok(message.length < 1100 && !/\p{Cc}/u.test(message), 'a reason that can be read');
    return;
  }
  const { review, object } = patched(request, operations);
  const { nodeName } = fields(object['spec']) ?? {};
  assert.ok(text(nodeName), 'no warmer without a node');
  if (operations.length === 0) return;
  assert.match(text(nodeName), NODE_NAME);
  const { labels, annotations } = fields(object['metadata']) ?? {};
  assert.equal(fields(labels)?.['ips/warmer'], 'true');
  assert.equal(fields(annotations)?.['ips/nodes'], undefined);
  const again = serialized(review);
  if (again === undefined) return;
  const second = responseOf(await ask({ path: '/pin', body: again }), response.uid);
  assert.deepEqual([second.allowed, second.patch], [true, undefined], 'what is pinned stays');
}

/** What the controller makes of the same object. */
function checkPlan(request: Fields): void {
  const object = fields(request['object']);
  const { group, version, kind } = fields(request['kind']) ?? {};
  const apiVersion = text(group) ? `${text(group)}/${text(version)}` : version;
  const type = typeOf(TYPES, apiVersion, kind);
  if (!type || !object || !fields(object['metadata'])) return;
  const workload = workloadOf(TYPES, type, object as never);
  const plan = planOf(workload);
  assert.match(plan.fingerprint, /^[0-9a-f]{32}$/);
  assert.ok(plan.images.length <= 100);
  for (const { image } of plan.images) {
    const reference = parseImageReference(image);
    assert.ok(reference.ok && reference.reference.canonical === image && image.length <= 512, image);
  }
  const matcher = compileNodeMatcher(plan.requirements);
  const node = {
    metadata: { name: 'n', labels: { disk: 'ssd' } },
    spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] },
  };
  assert.ok(['string', 'undefined'].includes(typeof matcher(node)));
  if (plan.images.length > 0) JSON.stringify(taskSpec([plan]));
  const spec = fields(object['spec']);
  if (!spec || kind === 'Pod') return;
  const scaled = { ...object, spec: { ...spec, replicas: 41 }, status: { replicas: 7 } };
  assert.equal(
    planOf(workloadOf(TYPES, type, scaled as never)).fingerprint,
    plan.fingerprint,
    'scaling changes nothing',
  );
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** Undefined where it is nested deeper than the stack goes. */
function serialized(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

function fields(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
