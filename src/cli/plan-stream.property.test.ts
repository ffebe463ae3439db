import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readPlan } from './plan-options.ts';
import { answerLine } from './plan-stream.ts';

const POD_SPEC = {
  ...{ nodeName: '', nodeSelector: { pool: 'web' }, runtimeClassName: 'kata', serviceAccountName: 'default' },
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [
          {
            matchExpressions: [{ key: 'pool', operator: 'In', values: ['web'] }],
            matchFields: [{ key: 'metadata.name', operator: 'NotIn', values: ['x'] }],
          },
        ],
      },
      preferredDuringSchedulingIgnoredDuringExecution: [
        { weight: 1, preference: { matchExpressions: [{ key: 'size', operator: 'Gt', values: ['3'] }] } },
      ],
    },
  },
  tolerations: [{ key: 'k', operator: 'Equal', value: 'v', effect: 'NoSchedule', tolerationSeconds: 3 }],
  topologySpreadConstraints: [
    {
      ...{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway' },
      labelSelector: { matchLabels: { app: 'web' }, matchExpressions: [] },
    },
  ],
  containers: [{ name: 'a', image: 'nginx:1', imagePullPolicy: 'Always' }],
  initContainers: [{ name: 'b', image: 'busybox' }],
  volumes: [{ name: 'c', image: { reference: 'r.example/data:1', pullPolicy: 'IfNotPresent' } }],
  ...{ imagePullSecrets: [{ name: 's' }], os: { name: 'linux' } },
};
const NODE = {
  metadata: { name: 'a', uid: 'u', labels: { pool: 'web', zone: 'z', 'kubernetes.io/os': 'linux' } },
  spec: { unschedulable: false, taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] },
  status: {
    conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: '2026-01-01T00:00:00Z' }],
    images: [{ names: ['docker.io/library/nginx:1'], sizeBytes: 1000 }],
    allocatable: { cpu: '4', memory: '8Gi', 'ephemeral-storage': '100Gi' },
    capacity: { 'ephemeral-storage': '100Gi' },
    runtimeHandlers: [{ name: 'kata' }],
    nodeInfo: {
      ...{ kubeletVersion: 'v1.36.0', containerRuntimeVersion: 'containerd://2.1.0' },
      ...{ operatingSystem: 'linux', architecture: 'amd64' },
    },
  },
};
const LINE = {
  id: 1,
  workload: {
    ...{ apiVersion: 'apps/v1', kind: 'StatefulSet' },
    metadata: {
      ...{ name: 'web', namespace: 'shop', labels: { a: 'b' } },
      annotations: { 'ips/prewarm': 'true', 'ips/max-nodes': '50%', 'ips/extra-images': 'a,b' },
      ownerReferences: [{ apiVersion: 'v1', kind: 'X', name: 'x', uid: 'u', controller: false }],
    },
    spec: { template: { metadata: { labels: { app: 'web' }, annotations: {} }, spec: POD_SPEC } },
  },
  nodes: [NODE, { metadata: { name: 'b' } }],
  runtimeClasses: [
    {
      ...{ metadata: { name: 'kata' }, handler: 'kata' },
      scheduling: { nodeSelector: { pool: 'web' }, tolerations: [{ operator: 'Exists' }] },
      overhead: { podFixed: { memory: '100Mi' } },
    },
  ],
};

type Path = (string | number)[];

function pathsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  const below = Object.entries(value).flatMap(([key, each]) =>
    pathsOf(each, [...path, Array.isArray(value) ? Number(key) : key]),
  );
  return [path, ...below];
}

/** The same with another value at a place; undefined takes the place away. */
function changed(value: unknown, [first, ...rest]: Path, put: unknown): unknown {
  if (first === undefined) return put;
  if (typeof value !== 'object' || value === null) return value;
  const copy = Array.isArray(value) ? [...(value as unknown[])] : { ...value };
  const fields = copy as Record<string | number, unknown>;
  fields[first] = changed(fields[first], rest, put);
  return copy;
}

const HOSTILE = [
  ...[null, undefined, true, 0, -1, 1e308, '', 'x', '\u0000', '💥', 'x'.repeat(10_000), [], [null], [[]], {}],
  ...[{ __proto__: null }, JSON.parse('{"__proto__":{"a":1}}'), { constructor: 'x' }, { length: 3 }],
];

const settings = (() => {
  const result = readPlan(['--stream'], {});
  if (!result.ok || result.command.run !== 'stream') throw new Error('not a stream');
  return result.command.settings;
})();

/** What JavaScript says of a value that nobody looked at. */
const OWN_FAULT = /is not (a function|iterable|defined)|Cannot |undefined|of null|Invalid time|Maximum/;

function check(text: string): void {
  const answer = JSON.parse(answerLine(text, settings) ?? '') as Record<string, unknown>;
  const fields = Object.keys(answer).join();
  expect(['id,error', 'id,images,nodes,skipped,warnings']).toContain(fields);
  expect(String(answer['error'] ?? '')).not.toMatch(OWN_FAULT);
}

test('the whole line is answered as it stands', () => {
  const answer = JSON.parse(answerLine(JSON.stringify(LINE), settings) ?? '') as object;
  expect(answer).toMatchObject({ id: 1, nodes: ['a'], skipped: [{ node: 'b' }], warnings: [] });
});

test('whatever stands in one place of a line, it is answered, and what is wrong is told in our words', () => {
  for (const path of pathsOf(LINE))
    for (const put of HOSTILE) check(JSON.stringify(changed(LINE, path, put) ?? null));
});

test('whatever stands in several places of a line, it is answered', () => {
  const place = fc.tuple(
    fc.constantFrom(...pathsOf(LINE)),
    fc.oneof(fc.constantFrom(...HOSTILE), fc.jsonValue()),
  );
  fc.assert(
    fc.property(fc.array(place, { minLength: 2, maxLength: 6 }), (places) => {
      let line: unknown = LINE;
      for (const [path, put] of places) line = changed(line, path, put);
      check(JSON.stringify(line ?? null));
    }),
    { numRuns: 1000 },
  );
});

test('whatever a line is, it is answered', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json(),
        fc.string({ minLength: 1 }).map((text) => `x${text}`),
      ),
      check,
    ),
  );
});
