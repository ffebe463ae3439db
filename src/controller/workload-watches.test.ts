import { describe, expect, it } from 'vitest';
import { workloadOf } from '../domain/workload.ts';
import { readCustomWorkloads, workloadTypes } from '../domain/workload-types.ts';
import { ownerKeys, readWorkloadKey, workloadKey } from './workload-watches.ts';

const TYPES = workloadTypes(
  readCustomWorkloads('statefulsets.kruise.example/v1:StatefulSet:spec.template').types,
);

describe('the key of a workload', () => {
  it.each([
    { typeKey: '/Pod', key: '/Pod/shop/web' },
    { typeKey: 'apps/StatefulSet', key: 'apps/StatefulSet/shop/web' },
    { typeKey: 'kruise.example/StatefulSet', key: 'kruise.example/StatefulSet/shop/web' },
  ])('$key says its type and its name', ({ typeKey, key }) => {
    const type = TYPES.get(typeKey);
    if (!type) throw new Error(`${typeKey} is no type`);
    const workload = workloadOf(TYPES, type, { metadata: { namespace: 'shop', name: 'web' } });
    expect(workloadKey(workload)).toBe(key);
    expect(readWorkloadKey(TYPES, key)).toEqual({ type, namespace: 'shop', name: 'web' });
  });

  it.each(['', 'apps/StatefulSet', 'apps/StatefulSet/web', 'other.example/StatefulSet/shop/web', 'a/b/c/d'])(
    '%j names no workload',
    (key) => expect(readWorkloadKey(TYPES, key)).toBeUndefined(),
  );
});

it('owners of a task are told apart by group and kind, in any version; others are none of ours', () => {
  const owner = (apiVersion: string, kind: string) => ({ apiVersion, kind, name: 'web', uid: 'u' });
  const ownerReferences = [
    owner('apps/v1', 'StatefulSet'),
    owner('kruise.example/v1beta1', 'StatefulSet'),
    owner('v1', 'Pod'),
    owner('v1', 'ConfigMap'),
    owner('other.example/v1', 'StatefulSet'),
  ];
  const task = { metadata: { namespace: 'shop', ownerReferences }, spec: { images: [] } };
  expect(ownerKeys(TYPES, task)).toEqual([
    'apps/StatefulSet/shop/web',
    'kruise.example/StatefulSet/shop/web',
    '/Pod/shop/web',
  ]);
});
