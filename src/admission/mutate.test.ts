import fc from 'fast-check';
import jsonPatch from 'fast-json-patch';
import { describe, expect, it } from 'vitest';
import type { JsonPatchOperation } from '../domain/json-patch.ts';
import type { KubernetesObject, PodTemplate } from '../domain/kubernetes.ts';
import { readCustomWorkloads, workloadTypes } from '../domain/workload-types.ts';
import { type Mutation, mutateWorkload as mutate } from './mutate.ts';

type Deployment = KubernetesObject & { spec?: { template?: PodTemplate } };

const TYPES = workloadTypes(readCustomWorkloads('fleets.shop.example/v1:Fleet:spec.group.template').types);
const API_VERSIONS: Record<string, string> = { Pod: 'v1', Job: 'batch/v1', CronJob: 'batch/v1' };

function mutateWorkload(
  kind: string,
  object: KubernetesObject,
  apiVersion = API_VERSIONS[kind] ?? 'apps/v1',
): Mutation {
  return mutate(TYPES, { apiVersion, kind, object });
}

const APP = { containers: [{ name: 'main', image: 'app:1' }] };
const ADD_LABEL = { op: 'add', path: '/metadata/labels/ips~1prewarm', value: 'true' };
const REMOVE_LABEL = { op: 'remove', path: '/metadata/labels/ips~1prewarm' };

function deployment(metadata: object, template: object = { spec: APP }): Deployment {
  return { metadata: { name: 'web', namespace: 'shop', ...metadata }, spec: { template } };
}

/** By a library, as strictly as the API server does. */
function applied<T extends KubernetesObject>(object: T, patch: JsonPatchOperation[]): T {
  return jsonPatch.applyPatch(structuredClone(object), patch, true).newDocument;
}

describe('mutateWorkload', () => {
  it.each<{
    what: string;
    object: KubernetesObject;
    result: string;
    patch: object[];
    warnings?: string[];
  }>([
    {
      what: 'adds the label beside others',
      object: deployment({ annotations: { 'ips/prewarm': 'true' }, labels: { app: 'web' } }),
      result: 'labelled',
      patch: [ADD_LABEL],
    },
    {
      what: 'makes the labels first where there are none',
      object: deployment({ annotations: { 'ips/prewarm': 'true' } }),
      result: 'labelled',
      patch: [{ op: 'add', path: '/metadata/labels', value: {} }, ADD_LABEL],
    },
    {
      what: 'makes the labels first where they are null',
      object: deployment({ annotations: { 'ips/prewarm': 'true' }, labels: null }),
      result: 'labelled',
      patch: [{ op: 'add', path: '/metadata/labels', value: {} }, ADD_LABEL],
    },
    {
      what: 'follows the annotation of the template',
      object: deployment({ labels: {} }, { metadata: { annotations: { 'ips/prewarm': 'true' } }, spec: APP }),
      result: 'labelled',
      patch: [ADD_LABEL],
    },
    {
      what: 'mends a label that says something else',
      object: deployment({ annotations: { 'ips/prewarm': 'true' }, labels: { 'ips/prewarm': 'yes' } }),
      result: 'labelled',
      patch: [ADD_LABEL],
    },
    {
      what: 'changes nothing of what is labelled, and keeps what IPS told there',
      object: deployment({
        annotations: { 'ips/prewarm': 'true', 'ips/status': 'Warm 1/1 nodes' },
        labels: { 'ips/prewarm': 'true' },
      }),
      result: 'unchanged',
      patch: [],
    },
    {
      what: 'changes nothing of what was never opted in',
      object: deployment({ labels: { app: 'web' }, annotations: { a: 'b' } }),
      result: 'unchanged',
      patch: [],
    },
    {
      what: 'takes everything back that is its own, once opted out',
      object: deployment({
        annotations: {
          'ips/prewarm': 'false',
          'ips/priority': '3',
          'ips/status': 'Warm 1/1 nodes',
          'ips/task': 't',
          'ips/last-warmed': 'x',
          'ips/message': 'y',
        },
        labels: { 'ips/prewarm': 'true', app: 'web' },
      }),
      result: 'unlabelled',
      patch: [
        REMOVE_LABEL,
        { op: 'remove', path: '/metadata/annotations/ips~1status' },
        { op: 'remove', path: '/metadata/annotations/ips~1task' },
        { op: 'remove', path: '/metadata/annotations/ips~1last-warmed' },
        { op: 'remove', path: '/metadata/annotations/ips~1message' },
      ],
    },
    {
      what: 'takes the label back where the annotation is gone altogether',
      object: deployment({ labels: { 'ips/prewarm': 'true' } }),
      result: 'unlabelled',
      patch: [REMOVE_LABEL],
    },
    {
      what: 'takes back annotations that somebody copied here',
      object: deployment({ annotations: { 'ips/status': 'Warm 1/1 nodes' } }),
      result: 'unlabelled',
      patch: [{ op: 'remove', path: '/metadata/annotations/ips~1status' }],
    },
    {
      what: 'unlabels what is being deleted',
      object: deployment({
        annotations: { 'ips/prewarm': 'true' },
        labels: { 'ips/prewarm': 'true' },
        deletionTimestamp: 't',
      }),
      result: 'unlabelled',
      patch: [REMOVE_LABEL],
    },
    {
      what: 'warns of a wrong value, and opts in all the same',
      object: deployment({
        annotations: { 'ips/prewarm': 'true', 'ips/priority': 'high' },
        labels: { 'ips/prewarm': 'true' },
      }),
      result: 'unchanged',
      patch: [],
      warnings: ['annotation ips/priority: "high" must be a whole number from 1 to 10; ignored'],
    },
    {
      what: 'warns of a wrong opt-in',
      object: deployment({ annotations: { 'ips/prewarm': 'yes' } }),
      result: 'unchanged',
      patch: [],
      warnings: ['annotation ips/prewarm: "yes" must be "true" or "false"; not prewarmed'],
    },
    {
      what: 'warns of a workload without any image, and of a notifier that nobody configured',
      object: deployment(
        { annotations: { 'ips/prewarm': 'true', 'ips/notify': 'team' }, labels: { 'ips/prewarm': 'true' } },
        {},
      ),
      result: 'unchanged',
      patch: [],
      warnings: [
        'there is no image to prewarm',
        'annotation ips/notify: no notifier is configured; nobody is told',
      ],
    },
    {
      what: 'warns of an image that is none',
      object: deployment(
        { annotations: { 'ips/prewarm': 'true' }, labels: { 'ips/prewarm': 'true' } },
        { spec: { containers: [...APP.containers, { name: 'bad', image: 'A' }] } },
      ),
      result: 'unchanged',
      patch: [],
      warnings: ['container bad: image "A" is left out: repository "A" must be lowercase'],
    },
  ])('$what', ({ object, result, patch, warnings = [] }) => {
    expect(mutateWorkload('Deployment', object)).toEqual({ result, patch, warnings });
  });

  it.each<{ what: string; object: KubernetesObject; result: string }>([
    {
      what: 'labels a pod of its own',
      object: { metadata: { annotations: { 'ips/prewarm': 'true' }, labels: {} } },
      result: 'labelled',
    },
    {
      what: 'leaves a pod of a ReplicaSet alone, which inherits its annotations',
      object: {
        metadata: {
          annotations: { 'ips/prewarm': 'true' },
          ownerReferences: [
            { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', uid: 'u', controller: true },
          ],
        },
      },
      result: 'unchanged',
    },
  ])('$what', ({ object, result }) => {
    expect(mutateWorkload('Pod', object).result).toBe(result);
  });

  it('takes nothing away from what a controller made: it would write the same again', () => {
    const owner = { apiVersion: 'shop.example/v1', kind: 'Fleet', name: 'f', uid: 'u', controller: true };
    const object = (apiVersion: string) =>
      deployment({
        labels: { 'ips/prewarm': 'true' },
        annotations: { 'ips/status': 'Warm 1/1 nodes' },
        ownerReferences: [{ ...owner, apiVersion }],
      });
    expect(mutateWorkload('ReplicaSet', object('shop.example/v1')).result).toBe('unchanged');
    expect(mutateWorkload('ReplicaSet', object('other.example/v1')).result).toBe('unlabelled');
  });

  it.each<[string, string]>([
    ['apps/v1', 'Deployment'],
    ['apps/v1', 'StatefulSet'],
    ['apps/v1', 'DaemonSet'],
    ['apps/v1', 'ReplicaSet'],
    ['batch/v1', 'Job'],
  ])('labels %s %s that its template opts in', (apiVersion, kind) => {
    const object = deployment(
      { labels: {} },
      { metadata: { annotations: { 'ips/prewarm': 'true' } }, spec: APP },
    );
    expect(mutateWorkload(kind, object, apiVersion)).toEqual({
      ...{ result: 'labelled', patch: [ADD_LABEL], warnings: [] },
    });
  });

  it.each<[string, string, object]>([
    ['batch/v1', 'CronJob', { jobTemplate: { spec: { template: { spec: APP } } } }],
    ['shop.example/v1', 'Fleet', { group: { template: { spec: APP } } }],
  ])('reads the template of %s %s where it stands', (apiVersion, kind, spec) => {
    const metadata = { annotations: { 'ips/prewarm': 'true' }, labels: {} };
    const object = (own: object) => ({ metadata, spec: own }) as KubernetesObject;
    expect(mutateWorkload(kind, object(spec), apiVersion).warnings).toEqual([]);
    const elsewhere = mutateWorkload(kind, object({ template: { spec: APP } }), apiVersion);
    expect(elsewhere.warnings).toEqual(['there is no image to prewarm']);
  });

  it.each<[string, string]>([
    ['apps/v1', 'ControllerRevision'],
    ['', 'Deployment'],
    ['other.example/v1', 'Deployment'],
    ['other.example/v1', 'Fleet'],
    ['v1', ''],
  ])('leaves %s %s alone', (apiVersion, kind) => {
    const object = deployment({ annotations: { 'ips/prewarm': 'true', 'ips/priority': 'x' } });
    expect(mutateWorkload(kind, object, apiVersion)).toEqual({
      ...{ result: 'unchanged', patch: [], warnings: [] },
    });
  });

  const text = fc.string({ maxLength: 12 });
  const annotations = fc.dictionary(
    fc.oneof(
      fc.constantFrom(
        'ips/prewarm',
        'ips/status',
        'ips/task',
        'ips/message',
        'ips/extra-images',
        'ips/exclude-containers',
        'ips/priority',
        'ips/max-nodes',
        'a/b~c',
        'toString',
      ),
      text,
    ),
    fc.oneof(fc.constantFrom('true', 'false', ''), text),
  );
  const labels = fc.dictionary(
    fc.constantFrom('ips/prewarm', 'app', 'ips/status'),
    fc.constantFrom('true', 'x'),
  );
  const object: fc.Arbitrary<KubernetesObject> = fc
    .record(
      {
        annotations: fc.option(annotations),
        labels: fc.option(labels),
        template: fc.option(annotations),
        image: text,
      },
      { requiredKeys: ['template', 'image'] },
    )
    .map(({ template, image, ...metadata }) =>
      deployment(metadata, {
        ...(template ? { metadata: { annotations: template } } : {}),
        spec: { containers: [{ name: 'main', image }] },
      }),
    );

  it('patches nothing but the metadata, whatever stands there, and never fails', () => {
    fc.assert(
      fc.property(object, (each) => {
        const { patch } = mutateWorkload('Deployment', each);
        for (const { path } of patch) expect(path).toMatch(/^\/metadata\/(labels|annotations)(\/|$)/);
        expect((applied(each, patch) as Deployment).spec).toEqual((each as Deployment).spec);
      }),
      { numRuns: 500 },
    );
  });

  it('patches nothing more when it is asked again about what it patched', () => {
    fc.assert(
      fc.property(object, (each) => {
        const first = mutateWorkload('Deployment', each);
        expect(mutateWorkload('Deployment', each)).toEqual(first);
        const again = mutateWorkload('Deployment', applied(each, first.patch));
        expect(again).toEqual({ result: 'unchanged', patch: [], warnings: first.warnings });
      }),
      { numRuns: 500 },
    );
  });
});
