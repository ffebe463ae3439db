import { describe, expect, it } from 'vitest';
import type { KubernetesNode, KubernetesObject } from './kubernetes.ts';
import { type NodeChange, nodeChange, trimNode } from './trim-node.ts';

const FULL = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: {
    name: 'n1',
    uid: 'u1',
    resourceVersion: '7',
    generation: 3,
    labels: { zone: 'a' },
    annotations: { 'flannel/backend': 'x' },
    managedFields: [{}],
  },
  spec: {
    podCIDR: '10.0.0.0/24',
    unschedulable: true,
    taints: [{ key: 'a', effect: 'NoSchedule', timeAdded: 't1' }],
  },
  status: {
    addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
    capacity: { cpu: '4' },
    conditions: [
      { type: 'MemoryPressure', status: 'False', lastHeartbeatTime: 't1' },
      { type: 'DiskPressure', status: 'False', lastHeartbeatTime: 't1', reason: 'x' },
      { type: 'Ready', status: 'True', lastHeartbeatTime: 't1', lastTransitionTime: 't0', message: 'ok' },
    ],
    images: [{ names: ['app:1'], sizeBytes: 5 }],
    nodeInfo: {
      kubeletVersion: 'v1.36.3',
      containerRuntimeVersion: 'containerd://2.2.0',
      operatingSystem: 'linux',
      architecture: 'arm64',
      kernelVersion: '6.1',
    },
  },
};

describe('trimNode', () => {
  it('keeps what is used and nothing else', () => {
    expect(trimNode(FULL)).toEqual({
      metadata: { name: 'n1', uid: 'u1', resourceVersion: '7', labels: { zone: 'a' } },
      spec: { unschedulable: true, taints: [{ key: 'a', effect: 'NoSchedule' }] },
      status: {
        conditions: [
          { type: 'DiskPressure', status: 'False', lastHeartbeatTime: 't1' },
          { type: 'Ready', status: 'True', lastHeartbeatTime: 't1' },
        ],
        images: [{ names: ['app:1'], sizeBytes: 5 }],
        nodeInfo: {
          kubeletVersion: 'v1.36.3',
          containerRuntimeVersion: 'containerd://2.2.0',
          operatingSystem: 'linux',
          architecture: 'arm64',
        },
      },
    });
  });

  it.each<{ what: string; node: KubernetesObject }>([
    { what: 'only a name', node: { metadata: { name: 'n1' } } },
    { what: 'no spec', node: { metadata: { name: 'n1' }, status: {} } as KubernetesNode },
  ])('reads a node with $what', ({ node }) => {
    expect(trimNode(node)).toEqual({ metadata: { name: 'n1' }, spec: {}, status: { nodeInfo: {} } });
  });

  it('is the same when it is done twice, and holds on to nothing of the original', () => {
    const original = structuredClone(FULL);
    const trimmed = trimNode(original);
    original.metadata.labels.zone = 'b';
    expect(trimmed.metadata.labels).toEqual({ zone: 'a' });
    expect(trimNode(trimmed)).toEqual(trimmed);
  });

  it('keeps an image once, however many nodes list it, and taints, however many nodes have them', () => {
    const [one, other] = [trimNode(FULL), trimNode(structuredClone(FULL))];
    expect(one.status?.images?.[0]).toBe(other.status?.images?.[0]);
    expect(one.spec).toBe(other.spec);
    const open = { ...FULL, spec: { ...FULL.spec, unschedulable: false } };
    expect(trimNode(open).spec).toEqual({ ...one.spec, unschedulable: false });
  });

  it('tells images apart whose names only read the same when they are put together', () => {
    const named = (...names: string[]) => ({ ...FULL, status: { ...FULL.status, images: [{ names }] } });
    expect(trimNode(named('a', 'b')).status?.images).toEqual([{ names: ['a', 'b'] }]);
    expect(trimNode(named('a b')).status?.images).toEqual([{ names: ['a b'] }]);
  });
});

const NOTHING: NodeChange = { images: false, other: false };

describe('nodeChange', () => {
  const at = (change: (node: typeof FULL) => void): KubernetesNode => {
    const node = structuredClone(FULL);
    change(node);
    return trimNode(node);
  };

  it.each<{ what: string; change: (node: typeof FULL) => void; changed: NodeChange }>([
    {
      what: 'only beats',
      change(node) {
        node.metadata.resourceVersion = '8';
        for (const condition of node.status.conditions) condition.lastHeartbeatTime = 't2';
      },
      changed: NOTHING,
    },
    {
      what: 'tells its conditions in another order',
      change(node) {
        node.status.conditions.reverse();
      },
      changed: NOTHING,
    },
    {
      what: 'changes what is not kept',
      change(node) {
        node.status.capacity.cpu = '8';
      },
      changed: NOTHING,
    },
    {
      what: 'is no longer ready',
      change(node) {
        node.status.conditions = [{ type: 'Ready', status: 'Unknown', lastHeartbeatTime: 't1' }];
      },
      changed: { images: false, other: true },
    },
    {
      what: 'has another image',
      change(node) {
        node.status.images = [{ names: ['app:2'], sizeBytes: 5 }];
      },
      changed: { images: true, other: false },
    },
    {
      what: 'has another label',
      change(node) {
        node.metadata.labels.zone = 'b';
      },
      changed: { images: false, other: true },
    },
    {
      what: 'is no longer cordoned',
      change(node) {
        node.spec.unschedulable = false;
      },
      changed: { images: false, other: true },
    },
    {
      what: 'is another of the same name',
      change(node) {
        node.metadata.uid = 'u2';
      },
      changed: { images: false, other: true },
    },
  ])('a node that $what', ({ change, changed }) => {
    expect(nodeChange(trimNode(FULL), at(change))).toEqual(changed);
  });
});
