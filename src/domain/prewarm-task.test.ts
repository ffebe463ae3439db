import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { DEFAULTS, MAX_BATCH, type PrewarmTaskSpec, type PrewarmTaskStatus } from './prewarm-task.ts';

type Schema = {
  type?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema;
  items?: Schema;
  required?: string[];
  enum?: unknown[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
};

/** Every field there is: a field that is added to the types must be added here, and so to the schema. */
type Everything<T> = T extends (infer E)[]
  ? Everything<E>[]
  : T extends object
    ? { [K in keyof T]-?: Everything<T[K]> }
    : T;

const TIME = '2026-01-01T00:00:00.000Z';
const REQUIREMENTS = [{ key: 'a', operator: 'In', values: ['b'] }];
const TASK: { spec: Everything<PrewarmTaskSpec>; status: Everything<PrewarmTaskStatus> } = {
  spec: {
    fingerprint: 'f'.repeat(32),
    images: [{ image: 'docker.io/library/app:1', pullPolicy: 'Always' }],
    imagePullSecrets: ['login'],
    serviceAccountName: 'web',
    runtimeClassName: 'kata',
    nodeRequirements: {
      nodeName: 'n1',
      nodeSelector: { 'example.com/disk': 'ssd' },
      nodeAffinity: { nodeSelectorTerms: [{ matchExpressions: REQUIREMENTS, matchFields: REQUIREMENTS }] },
      tolerations: [{ key: 'a', operator: 'Equal', value: 'b', effect: 'NoExecute', tolerationSeconds: 5 }],
      os: 'linux',
    },
    maxNodes: '25%',
    nodePreferences: {
      nodeAffinity: [
        { weight: 1, preference: { matchExpressions: REQUIREMENTS, matchFields: REQUIREMENTS } },
      ],
      topologySpreadConstraints: [
        {
          ...{ topologyKey: 'zone', maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule', minDomains: 2 },
          ...{ nodeAffinityPolicy: 'Ignore', nodeTaintsPolicy: 'Honor' },
        },
      ],
    },
    priority: 10,
    concurrentPulls: 50,
    retry: { limit: 5, strategy: 'linear', delaySeconds: 10 },
    timeoutSeconds: 86_400,
    ttlSecondsAfterFinished: 0,
    notifiers: ['team'],
    cancelled: true,
  },
  status: {
    observedGeneration: 1,
    phase: 'PartiallyFailed',
    message: 'm',
    progress: '1/2',
    nodes: { eligible: 4, warm: 1, warming: 2, failed: 1 },
    round: 1,
    batch: 2,
    width: 10,
    widthReason: 'm',
    pressure: { width: 20, reason: 'r', time: TIME, pauseSeconds: 1 },
    pauseUntil: TIME,
    attempt: 0,
    retryAt: TIME,
    waits: 1,
    batches: [
      {
        jobName: 'j',
        round: 1,
        batch: 2,
        attempt: 0,
        strategy: 'injected-noop',
        nodes: ['n1'],
        keys: 'aaaaaa',
        images: [0],
        startedAt: TIME,
      },
    ],
    failedImages: [{ image: 'i', reason: 'r', message: 'm', nodes: 3 }],
    failures: [{ node: 'n1', image: 'i', reason: 'r', message: 'm', time: TIME }],
    failureCount: 3,
    failedNodes: 'aaaaaa',
    spentNodes: 'aaaaaa',
    warmed: [{ images: [0], since: TIME, nodes: 'aaaaaa' }],
    collected: [{ images: [0], times: 2, retryAt: TIME, forgetAt: TIME, nodes: 'aaaaaa' }],
    wantsSince: TIME,
    coldSince: TIME,
    startedAt: TIME,
    finishedAt: TIME,
    lastWarmedAt: TIME,
  },
};

const crd = parse(readFileSync(join(import.meta.dirname, '../../deploy/base/crd.yaml'), 'utf8')) as {
  spec: { versions: { schema: { openAPIV3Schema: Schema } }[] };
};
const SCHEMA = crd.spec.versions[0]?.schema.openAPIV3Schema ?? {};

/** What the API server keeps of a value: it drops what a structural schema does not name. */
function pruned(value: unknown, schema: Schema): unknown {
  if (Array.isArray(value)) return value.map((each) => pruned(each, schema.items ?? {}));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).flatMap(([name, each]) => {
    const inner = schema.properties?.[name] ?? schema.additionalProperties;
    return inner ? [[name, pruned(each, inner)]] : [];
  });
  return Object.fromEntries(entries);
}

function problems(value: unknown, schema: Schema, path = ''): string[] {
  if (Array.isArray(value))
    return value.flatMap((each, index) => problems(each, schema.items ?? {}, `${path}[${index}]`));
  if (typeof value === 'object' && value !== null) {
    const missing = (schema.required ?? []).filter((name) => !Object.hasOwn(value, name));
    const inside = Object.entries(value).flatMap(([name, each]) =>
      problems(each, schema.properties?.[name] ?? schema.additionalProperties ?? {}, `${path}.${name}`),
    );
    return [...missing.map((name) => `${path}.${name} is missing`), ...inside];
  }
  return leafProblems(value, schema, path);
}

function leafProblems(value: unknown, schema: Schema, path: string): string[] {
  return [
    ...(schema.enum && !schema.enum.includes(value) ? [`${path} is none of ${schema.enum}`] : []),
    ...(schema.pattern && !new RegExp(schema.pattern).test(String(value))
      ? [`${path} has no such form`]
      : []),
    ...(Number(value) < (schema.minimum ?? -Infinity) ? [`${path} is too small`] : []),
    ...(Number(value) > (schema.maximum ?? Infinity) ? [`${path} is too large`] : []),
    ...(schema.type && schema.type !== (typeof value === 'number' ? 'integer' : typeof value)
      ? [`${path} is no ${schema.type}`]
      : []),
  ];
}

describe('the schema of PrewarmTask', () => {
  it('drops no field that is written', () => {
    expect(pruned(TASK, SCHEMA)).toEqual(TASK);
  });

  it('takes what is written, after the API server has dropped what it does not know', () => {
    expect(problems(pruned(TASK, SCHEMA), SCHEMA)).toEqual([]);
  });

  it.each<{ change: Partial<PrewarmTaskStatus> | Partial<PrewarmTaskSpec> }>([
    ...(['Pending', 'Warming', 'Warm', 'PartiallyFailed', 'Failed', 'Cancelled'] as const).map((phase) => ({
      change: { phase },
    })),
    { change: { maxNodes: '999999' } },
    { change: { maxNodes: '100%' } },
    { change: { retry: { limit: 0, strategy: 'exponential' as const } } },
    { change: { priority: DEFAULTS.priority } },
    { change: { concurrentPulls: MAX_BATCH } },
    { change: { timeoutSeconds: DEFAULTS.timeoutSeconds } },
    { change: { images: [{ image: 'a', pullPolicy: 'IfNotPresent' as const }] } },
  ])('takes $change', ({ change }) => {
    const { spec = {}, status = {} } = SCHEMA.properties ?? {};
    const where = Object.keys(change).every((name) => status.properties?.[name]) ? status : spec;
    expect(problems(change, { ...where, required: [] })).toEqual([]);
  });

  it.each<{ spec: object; problem: string }>([
    { spec: { images: [{ image: 'a', pullPolicy: 'Never' }] }, problem: '.images[0].pullPolicy is none of' },
    { spec: { images: [], priority: 11 }, problem: '.priority is too large' },
    { spec: { images: [], maxNodes: '007' }, problem: '.maxNodes has no such form' },
    { spec: {}, problem: '.images is missing' },
  ])('refuses $spec', ({ spec, problem }) => {
    expect(problems(spec, SCHEMA.properties?.['spec'] ?? {}).join()).toContain(problem);
  });
});
