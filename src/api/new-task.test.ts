import { describe, expect, it } from 'vitest';
import { newTask } from './new-task.ts';
import { Problem } from './problem.ts';
import type { NewTask } from './schemas.ts';

const body = (more: Partial<NewTask> = {}): NewTask => ({
  namespace: 'shop',
  images: [{ image: 'app:1' }],
  ...more,
});

function pointersOf(more: Partial<NewTask>): string[] {
  try {
    newTask(body(more));
  } catch (error) {
    if (error instanceof Problem && error.status === 422)
      return (error.errors ?? []).map(({ pointer }) => pointer ?? '');
    throw error;
  }
  return [];
}

const PREFERENCES = { nodeAffinity: [{ weight: 1, preference: {} }] };

it('the custom resource, with the names written out and the requirements in their place', () => {
  const task = newTask(
    body({
      name: 'release-7',
      nodeSelector: { pool: 'web' },
      tolerations: [{ key: 'dedicated', operator: 'Exists' }],
      os: 'linux',
      maxNodes: '25%',
      nodePreferences: PREFERENCES,
      imagePullSecrets: ['login'],
      retry: { limit: 0 },
      ttlSecondsAfterFinished: 60,
    }),
  );
  expect(task).toEqual({
    ...{
      apiVersion: 'ips.dev/v1alpha1',
      kind: 'PrewarmTask',
      metadata: { namespace: 'shop', name: 'release-7' },
    },
    spec: {
      images: [{ image: 'docker.io/library/app:1', pullPolicy: 'IfNotPresent' }],
      nodeRequirements: {
        nodeSelector: { pool: 'web' },
        tolerations: [{ key: 'dedicated', operator: 'Exists' }],
        os: 'linux',
      },
      ...{
        maxNodes: '25%',
        nodePreferences: PREFERENCES,
        imagePullSecrets: ['login'],
        retry: { limit: 0 },
        ttlSecondsAfterFinished: 60,
      },
    },
  });
});

it('the policy of an image is what the kubelet would take, and two spellings of one image are one', () => {
  const digest = `app@sha256:${'a'.repeat(64)}`;
  const images = [
    { image: 'web' },
    { image: digest },
    { image: 'db:2', pullPolicy: 'Always' as const },
    { image: 'docker.io/library/db:2' },
    { image: 'app:latest', pullPolicy: 'IfNotPresent' as const },
  ];
  expect(newTask(body({ images })).spec.images).toEqual([
    { image: 'docker.io/library/web:latest', pullPolicy: 'Always' },
    { image: `docker.io/library/${digest}`, pullPolicy: 'IfNotPresent' },
    { image: 'docker.io/library/db:2', pullPolicy: 'Always' },
    { image: 'docker.io/library/app:latest', pullPolicy: 'IfNotPresent' },
  ]);
});

describe('what the schema cannot judge is told by field', () => {
  const expressions = (...matchExpressions: object[]) =>
    ({ nodeAffinity: { nodeSelectorTerms: [{ matchExpressions }] } }) as Partial<NewTask>;
  const fields = (...matchFields: object[]) =>
    ({ nodeAffinity: { nodeSelectorTerms: [{}, { matchFields }] } }) as Partial<NewTask>;
  const term = '#/nodeAffinity/nodeSelectorTerms';
  it.each<{ what: string; more: Partial<NewTask>; pointers: string[] }>([
    {
      what: 'images that are no references, all of them',
      more: { images: [{ image: 'a b' }, { image: 'app:1' }, { image: 'App' }] },
      pointers: ['#/images/0/image', '#/images/2/image'],
    },
    {
      what: 'an image that is too long when it is written out',
      more: { images: [{ image: `${'a.'.repeat(200)}io/${'b'.repeat(105)}` }] },
      pointers: ['#/images/0/image'],
    },
    { what: 'a name in the way of workloads', more: { name: 'ips-0123456789ab' }, pointers: ['#/name'] },
    { what: 'a name that only looks like it', more: { name: 'ips-release' }, pointers: [] },
    {
      what: 'labels that no node can have',
      more: { nodeSelector: { 'a b': 'c', ok: 'x y', 'x/y/z~': '' } },
      pointers: ['#/nodeSelector/a b', '#/nodeSelector/ok', '#/nodeSelector/x~1y~1z~0'],
    },
    {
      what: 'expressions whose values do not fit their operator',
      more: expressions(
        { key: 'a', operator: 'In' },
        { key: 'a', operator: 'Exists', values: ['b'] },
        { key: 'a', operator: 'Gt', values: ['b'] },
        { key: 'a b', operator: 'Exists' },
        { key: 'a', operator: 'NotIn', values: ['b', 'c'] },
      ),
      pointers: [0, 1, 2, 3].map((index) => `${term}/0/matchExpressions/${index}`),
    },
    {
      what: 'fields that nodes do not have, and not one name',
      more: fields(
        { key: 'metadata.uid', operator: 'In', values: ['a'] },
        { key: 'metadata.name', operator: 'In', values: ['a', 'b'] },
        { key: 'metadata.name', operator: 'In', values: ['a'] },
      ),
      pointers: [0, 1].map((index) => `${term}/1/matchFields/${index}`),
    },
    {
      what: 'preferences that no node can have',
      more: {
        nodePreferences: {
          nodeAffinity: [
            { weight: 1, preference: { matchExpressions: [{ key: 'a', operator: 'Exists' }] } },
            {
              weight: 1,
              preference: {
                matchExpressions: [{ key: 'a', operator: 'In' }],
                matchFields: [{ key: 'metadata.uid', operator: 'In', values: ['a'] }],
              },
            },
          ],
          topologySpreadConstraints: [
            { topologyKey: 'a b', maxSkew: 1, whenUnsatisfiable: 'ScheduleAnyway' },
            { topologyKey: 'zone', maxSkew: 1, whenUnsatisfiable: 'ScheduleAnyway' },
          ],
        },
      },
      pointers: [
        'nodeAffinity/1/preference/matchExpressions/0',
        'nodeAffinity/1/preference/matchFields/0',
        'topologySpreadConstraints/0/topologyKey',
      ].map((path) => `#/nodePreferences/${path}`),
    },
    {
      what: 'tolerations that tolerate nothing',
      more: {
        tolerations: [
          {},
          { operator: 'Exists', value: 'x' },
          { key: 'a b' },
          { key: 'a', value: 'x y' },
          { operator: 'Exists' },
        ],
      },
      pointers: [0, 1, 2, 3].map((index) => `#/tolerations/${index}`),
    },
  ])('$what', ({ more, pointers }) => {
    expect(pointersOf(more)).toEqual(pointers);
  });
});
