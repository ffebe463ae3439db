import { describe, expect, it } from 'vitest';
import type { KubernetesNode, RuntimeClass } from './kubernetes.ts';
import { compileRuntimeMatcher, trimRuntimeClass } from './runtime-class.ts';

const node = (
  part: { labels?: Record<string, string>; taints?: string[]; cpu?: string; handlers?: string[] } = {},
) =>
  ({
    metadata: { name: 'n', labels: { pool: 'web', ...part.labels } },
    spec: { taints: (part.taints ?? []).map((key) => ({ key, effect: 'NoSchedule' })) },
    status: {
      allocatable: { cpu: part.cpu ?? '2', memory: '4Gi' },
      runtimeHandlers: (part.handlers ?? []).map((name) => ({ name })),
    },
  }) satisfies KubernetesNode;

const kata: RuntimeClass = {
  metadata: { name: 'kata' },
  handler: 'kata-qemu',
  scheduling: { nodeSelector: { kata: 'yes' }, tolerations: [{ key: 'kata', operator: 'Exists' }] },
  overhead: { podFixed: { cpu: '250m', memory: '160Mi' } },
};
const WEB = { nodeSelector: { pool: 'web' } };

describe('the nodes of a RuntimeClass', () => {
  it.each<{ what: string; runtimeClass?: RuntimeClass; node: KubernetesNode; reason?: string }>([
    {
      what: 'none, while it does not exist',
      node: node(),
      reason: 'RuntimeClass kata not found',
    },
    {
      what: 'those of the workload, where it asks for nothing',
      runtimeClass: { metadata: {} },
      node: node(),
    },
    { what: 'those with its labels', runtimeClass: kata, node: node({ labels: { kata: 'yes' } }) },
    {
      what: 'not those without',
      runtimeClass: kata,
      node: node(),
      reason: 'RuntimeClass kata: node selector kata=yes does not match',
    },
    {
      what: 'not those that the workload does not want',
      runtimeClass: kata,
      node: node({ labels: { kata: 'yes', pool: 'db' } }),
      reason: 'node selector pool=web does not match',
    },
    {
      what: 'those with a taint that it tolerates',
      runtimeClass: kata,
      node: node({ labels: { kata: 'yes' }, taints: ['kata'] }),
    },
    {
      what: 'not those with another taint',
      runtimeClass: kata,
      node: node({ labels: { kata: 'yes' }, taints: ['kata', 'gpu'] }),
      reason: 'taint gpu:NoSchedule is not tolerated',
    },
    {
      what: 'those with its handler',
      runtimeClass: kata,
      node: node({ labels: { kata: 'yes' }, handlers: ['', 'runc', 'kata-qemu'] }),
    },
    {
      what: 'not those that tell handlers, and not this one',
      runtimeClass: kata,
      node: node({ labels: { kata: 'yes' }, handlers: ['', 'runc'] }),
      reason: 'RuntimeClass kata: node has no runtime handler kata-qemu',
    },
    {
      what: 'those that hold its overhead and a warmer',
      runtimeClass: kata,
      node: node({ labels: { kata: 'yes' }, cpu: '260m' }),
    },
    {
      what: 'not those that do not',
      runtimeClass: kata,
      node: node({ labels: { kata: 'yes' }, cpu: '259m' }),
      reason: 'RuntimeClass kata: node has less cpu than its overhead of 250m needs',
    },
  ])('are $what', ({ runtimeClass, node: each, reason }) => {
    expect(compileRuntimeMatcher(WEB, 'kata', runtimeClass)(each)).toBe(reason);
  });

  it('are none, where it asks for another value of a label than the workload does', () => {
    const runtimeClass = { ...kata, scheduling: { nodeSelector: { kata: 'yes', pool: 'kata' } } };
    for (const pool of ['web', 'kata', 'db']) {
      expect(compileRuntimeMatcher(WEB, 'kata', runtimeClass)(node({ labels: { kata: 'yes', pool } }))).toBe(
        'RuntimeClass kata conflicts with the node selector: it asks for pool=kata, the workload for pool=web, and the API server refuses such pods',
      );
    }
    const agreed = { ...kata, scheduling: { nodeSelector: { pool: 'web' } } };
    expect(compileRuntimeMatcher(WEB, 'kata', agreed)(node())).toBeUndefined();
  });

  it('are those of the workload, where it names no RuntimeClass', () => {
    expect(compileRuntimeMatcher(WEB, undefined, undefined)(node({ taints: ['kata'] }))).toBe(
      'taint kata:NoSchedule is not tolerated',
    );
  });

  it('are told by what is kept of it', () => {
    const whole = { ...kata, metadata: { name: 'kata', labels: { a: 'b' } }, kind: 'RuntimeClass' };
    expect(trimRuntimeClass(whole)).toEqual(kata);
  });
});
