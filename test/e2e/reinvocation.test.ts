import { afterAll, beforeAll, expect, test } from 'vitest';
import { type JsonPatchOperation, jsonPointer } from '../../src/domain/json-patch.ts';
import type { KubernetesObject, PodSpec } from '../../src/domain/kubernetes.ts';
import { pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { failedOpen } from './installed.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';
import { type OtherWebhook, startOtherWebhook, type Workload } from './other-webhook.ts';

/** Between two webhooks that change what the other has seen, each asked again: before IPS, and after it. */
let kit: Kit;
let ips: Ips;
let others: OtherWebhook;
let image: string;
let sidecar: string;
let proxy: string;

beforeAll(async () => {
  kit = await createKit('reinvocation');
  const push = (name: string) =>
    pushTestImage(kit.cluster, `${unique(name)}:1`, 1_000_000, { executable: 'trace' });
  image = await push('reinvocation');
  sidecar = await push('sidecar');
  proxy = await push('proxy');
  ips = await startIps(kit.cluster);
  // What is looked at is what the answers are; on a busy machine one may take longer than the 2 s of a real cluster.
  const patient = JSON.stringify([{ op: 'replace', path: '/webhooks/0/timeoutSeconds', value: 20 }]);
  await kit.kubectl(['patch', 'mutatingwebhookconfiguration', 'ips', '--type', 'json', '--patch', patient]);
  others = await startOtherWebhook(kit.cluster, kit.namespace, {
    '/before': { name: `a-${kit.namespace}`, mutate: (object) => inject(object, 'before', sidecar) },
    '/after': {
      name: `z-${kit.namespace}`,
      mutate: (object) => [...inject(object, 'after', proxy), ...optIn(object)],
    },
  });
});

afterAll(async () => {
  await others?.remove();
  await ips?.stop();
  await kit?.remove();
});

function put(object: KubernetesObject, field: 'labels' | 'annotations', name: string): JsonPatchOperation[] {
  const present = object.metadata[field];
  if (present && Object.hasOwn(present, name)) return [];
  return [
    ...(present ? [] : [{ op: 'add' as const, path: `/metadata/${field}`, value: {} }]),
    { op: 'add', path: jsonPointer('metadata', field, name), value: 'true' },
  ];
}

/** A sidecar, a label and an annotation, each where it is missing. */
function inject(object: Workload, name: string, of: string): JsonPatchOperation[] {
  const containers = object.spec?.template?.spec?.containers ?? [];
  const container = { name, image: of, args: ['--proxy'], env: [{ name: 'A', value: 'b' }] };
  const missing = containers.every((each) => each.name !== name);
  return [
    ...(missing ? [{ op: 'add' as const, path: '/spec/template/spec/containers/-', value: container }] : []),
    ...put(object, 'labels', `example.com/${name}`),
    ...put(object, 'annotations', `example.com/${name}`),
  ];
}

/** A policy that opts in what a team marked, whether IPS has been asked about it or not. */
function optIn(object: Workload): JsonPatchOperation[] {
  const { annotations } = object.metadata;
  if (annotations?.['example.com/warm'] !== 'please' || annotations['ips/prewarm'] === 'true') return [];
  return [{ op: 'add', path: jsonPointer('metadata', 'annotations', 'ips/prewarm'), value: 'true' }];
}

type Asked = { before: number; after: number; ips: number };

async function asked(): Promise<Asked> {
  const results = ['labelled', 'unlabelled', 'unchanged', 'error'];
  const counts = await Promise.all(
    results.map((result) => ips.metric('ips_admission_requests_total', `result="${result}"`)),
  );
  return {
    before: others.asked.get('/before') ?? 0,
    after: others.asked.get('/after') ?? 0,
    ips: counts.reduce((sum, count) => sum + count, 0),
  };
}

async function stored(name: string): Promise<Workload> {
  return kit.get<Workload>('deployment', name);
}

function expectComplete(stored: Workload | undefined, own: Record<string, string> = {}): Workload {
  if (!stored) throw new Error('it is not there');
  expect(stored.metadata.labels).toEqual({
    ...own,
    'ips/prewarm': 'true',
    'example.com/before': 'true',
    'example.com/after': 'true',
  });
  expect(stored.metadata.annotations).toMatchObject({
    'example.com/before': 'true',
    'example.com/after': 'true',
  });
  const containers = stored.spec?.template?.spec?.containers ?? [];
  expect(containers.map((each) => each.name).sort()).toEqual(['after', 'before', 'c0']);
  const injected = { args: ['--proxy'], env: [{ name: 'A', value: 'b' }] };
  for (const each of containers.filter(({ name }) => name !== 'c0')) expect(each).toMatchObject(injected);
  return stored;
}

/** Once nobody has written it for a second: the Deployment controller tells of it, too. */
async function atRest(name: string): Promise<Workload> {
  let version: string | undefined;
  return waitFor(
    `${name} to be at rest`,
    async () => {
      const now = await stored(name);
      const before = version;
      version = now.metadata.resourceVersion;
      return version === before && now;
    },
    { everyMs: 1_000 },
  );
}

const WAYS: { way: string; apply(name: string, object: object): Promise<unknown> }[] = [
  { way: 'create', apply: (_, object) => kit.kubectl(['create', '-f', '-'], JSON.stringify(object)) },
  { way: 'apply', apply: (_, object) => kit.apply(object) },
  { way: 'server-side apply', apply: (_, object) => kit.apply(object, ['--server-side']) },
  {
    way: 'update',
    async apply(name, object) {
      const { metadata, ...rest } = object as KubernetesObject;
      await kit.kubectl(['create', '-f', '-'], JSON.stringify({ ...rest, metadata: { name } }));
      await kit.kubectl(['replace', '-f', '-'], JSON.stringify({ ...rest, metadata }));
    },
  },
  {
    way: 'patch',
    async apply(name, object) {
      const { metadata, ...rest } = object as KubernetesObject;
      await kit.kubectl(['create', '-f', '-'], JSON.stringify({ ...rest, metadata: { name } }));
      const patch = JSON.stringify({ metadata: { annotations: metadata.annotations } });
      await kit.kubectl(['patch', 'deployment', name, '--type', 'merge', '--patch', patch]);
    },
  },
];

test.each(WAYS)(
  'what two webhooks change is complete after $way, and each is asked twice at most',
  async ({ way, apply }) => {
    const name = way.replaceAll(' ', '-');
    const before = await asked();
    const object = deployment(name, { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES });
    await apply(name, object);
    expectComplete(await stored(name));
    const after = await asked();
    const requests = ['update', 'patch'].includes(way) ? 2 : 1;
    for (const who of ['before', 'after', 'ips'] as const) {
      expect(after[who] - before[who], who).toBeGreaterThan(0);
      expect(after[who] - before[who], who).toBeLessThanOrEqual(2 * requests);
    }
  },
);

test('the images of injected sidecars are warmed, and nothing drifts', async () => {
  const object = deployment('warm', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES });
  await kit.apply(object, ['--server-side']);
  await kit.status('deployment/warm', /^Warm 2\/2/);
  for (const each of [image, sidecar, proxy]) expect(await kit.nodesWith(each)).toEqual(['node-a', 'node-b']);
  const warm = expectComplete(await atRest('warm'));
  // Nothing that anybody does again changes anything: what admission adds was there already.
  await kit.apply(object, ['--server-side']);
  const { managedFields: _, ...metadata } = warm.metadata;
  await kit.kubectl(['replace', '-f', '-'], JSON.stringify({ ...warm, metadata }));
  const again = await stored('warm');
  expect(again.metadata.resourceVersion).toBe(warm.metadata.resourceVersion);
  expect(await kit.tasks()).toHaveLength(1);
});

test('what a webhook after IPS opts in is labelled: at once where IPS was asked before, else by its next write', async () => {
  const marked = { 'example.com/warm': 'please' };
  const options = { replicas: 0, images: [image], spec: WEB_NODES };
  const no = { ...marked, 'ips/prewarm': 'false' };
  await kit.apply(deployment('late', { annotations: no, ...options }), ['--server-side']);
  expect(expectComplete(await stored('late')).metadata.annotations).toMatchObject(PREWARM);

  await kit.apply(deployment('later', { annotations: marked, ...options }), ['--server-side']);
  expect((await stored('later')).metadata.annotations).toMatchObject(PREWARM);
  await kit.kubectl(['annotate', 'deployment/later', 'example.com/touched=true']);
  expectComplete(await stored('later'));
});

const odd = [
  '',
  '\u0000',
  '\u202e\u2028',
  '😀'.repeat(100),
  'ﷺ',
  '\u0085\u007f',
  '%s"\\',
  '\ufffd',
  '{"__proto__":{}}',
];
const numbered = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const strange = ['constructor', 'toString', 'hasOwnProperty', 'valueOf', 'prototype', 'isPrototypeOf'];
const strangeKeys = Object.fromEntries(strange.map((name) => [name, 'x']));

/** What the API server takes, and hardly anybody writes. */
const HOSTILE: {
  what: string;
  annotations: Record<string, string>;
  labels?: Record<string, string>;
  spec?: PodSpec;
}[] = [
  { what: 'commas', annotations: { 'ips/extra-images': ','.repeat(200_000) } },
  { what: 'images', annotations: { 'ips/extra-images': numbered(20_000, (i) => `app-${i}:1`).join() } },
  { what: 'excluded', annotations: { 'ips/exclude-containers': numbered(30_000, (i) => `c${i}`).join() } },
  { what: 'long', annotations: { 'ips/priority': 'x'.repeat(200_000), long: 'y'.repeat(50_000) } },
  { what: 'unknown', annotations: Object.fromEntries(numbered(500, (i) => [`ips/setting-${i}`, 'x'])) },
  {
    what: 'odd',
    annotations: Object.fromEntries(
      odd.map((text, i) => [`ips/${['timeout', 'max-nodes', 'notify'][i % 3]}${i > 2 ? i : ''}`, text]),
    ),
  },
  {
    what: 'labels',
    annotations: {},
    labels: Object.fromEntries(numbered(3000, (i) => [`label-${i}`, 'x'])),
  },
  { what: 'strange', annotations: strangeKeys, labels: strangeKeys, spec: { nodeSelector: strangeKeys } },
  {
    what: 'tolerations',
    annotations: {},
    spec: { tolerations: numbered(1000, (i) => ({ key: `k${i}`, operator: 'Exists' })) },
  },
  {
    what: 'terms',
    annotations: {},
    spec: {
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: numbered(1100, (i) => ({
              matchExpressions: [{ key: `k${i}`, operator: 'In', values: ['a'] }],
            })),
          },
        },
      },
    },
  },
  {
    what: 'containers',
    annotations: {},
    spec: { initContainers: numbered(200, (i) => ({ name: `i${i}`, image: `a${i}` })) },
  },
  {
    what: 'names',
    annotations: {},
    spec: { initContainers: numbered(50, (i) => ({ name: `i${i}`, image: '\u202e'.repeat(99 + i) })) },
  },
];

test('what is hostile and yet valid is taken, labelled and completed by all', async () => {
  const before = await failedOpen(kit.cluster);
  const items = HOSTILE.map(({ what, annotations, labels, spec }) => {
    // Nowhere: what is tested is how it is taken in.
    const options = { replicas: 0, images: [image], spec: { nodeSelector: { pool: 'none' }, ...spec } };
    const object = deployment(what, { annotations: { ...PREWARM, ...annotations }, ...options }) as Workload;
    return labels ? { ...object, metadata: { ...object.metadata, labels } } : object;
  });
  await kit.kubectl(['create', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  const all = await kit.list<Workload>('deployments');
  for (const { what, labels } of HOSTILE) {
    const made = all.find(({ metadata }) => metadata.name === what);
    expect(() => expectComplete(made, labels), what).not.toThrow();
  }
  expect(await failedOpen(kit.cluster)).toEqual(before);
  expect(await ips.metric('ips_admission_requests_total', 'result="error"')).toBe(0);
  // None of them keeps others from being warmed.
  await kit.apply(
    deployment('well', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }),
  );
  await kit.status('deployment/well', /^Warm 2\/2/);
});

/** A custom resource without a schema: where its pod template should stand may be anything. */
const ROLLOUTS = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'rollouts.argoproj.io' },
  spec: {
    group: 'argoproj.io',
    names: { kind: 'Rollout', plural: 'rollouts', singular: 'rollout' },
    scope: 'Namespaced',
    versions: [
      {
        ...{ name: 'v1alpha1', served: true, storage: true },
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
};
const deep = (levels: number) => `${'{"a":['.repeat(levels)}7${']}'.repeat(levels)}`;
/** As text: `__proto__` in a literal would be no key. */
const SPECS = [
  ...['7', '[]', '{"template":[]}', '{"template":{"metadata":7,"spec":"x"}}', `{"template":${deep(4000)}}`],
  '{"template":{"spec":{"containers":7,"volumes":{"a":1},"tolerations":[null,7],"nodeSelector":[],"affinity":"x"}}}',
  '{"template":{"spec":{"containers":[null,7,{"name":7,"image":{}},{"image":"a:1"}],"initContainers":[[]]}}}',
  '{"__proto__":{"x":1},"template":{"__proto__":7,"spec":{"__proto__":null,"nodeSelector":{"__proto__":"x"}}}}',
  '{"template":{"metadata":{"annotations":{"ips/priority":3,"ips/timeout":null},"labels":{"a":1}},"spec":{}}}',
];

test('a custom resource that is anything but a workload is taken, told of, and labelled', async () => {
  const before = await failedOpen(kit.cluster);
  await kit.apply(ROLLOUTS);
  try {
    await kit.kubectl(['wait', '--for=condition=Established', 'crd/rollouts.argoproj.io', '--timeout=60s']);
    const items = SPECS.map((spec, index) => {
      const metadata = JSON.stringify({ name: `rollout-${index}`, annotations: PREWARM });
      return `{"apiVersion":"argoproj.io/v1alpha1","kind":"Rollout","metadata":${metadata},"spec":${spec}}`;
    });
    const list = `{"apiVersion":"v1","kind":"List","items":[${items.join()}]}`;
    await kit.kubectl(['create', '--validate=false', '-f', '-'], list);
    const columns = 'custom-columns=N:.metadata.name,L:.metadata.labels';
    const made = await kit.kubectl(['get', 'rollouts', '--no-headers', '-o', columns]);
    const rows = made
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/));
    expect(rows).toEqual(SPECS.map((_, index) => [`rollout-${index}`, 'map[ips/prewarm:true]']));
    expect(await failedOpen(kit.cluster)).toEqual(before);
    expect(await ips.metric('ips_admission_requests_total', 'result="error"')).toBe(0);
  } finally {
    await kit.kubectl(['delete', 'crd', 'rollouts.argoproj.io', '--timeout=60s']);
  }
});
