import { describe, expect, it } from 'vitest';
import type { KubernetesNode } from './kubernetes.ts';
import { factsOf } from './node-facts.ts';

function node(status: KubernetesNode['status'], labels?: Record<string, string>): KubernetesNode {
  return { metadata: { name: 'n', ...(labels ? { labels } : {}) }, ...(status ? { status } : {}) };
}

describe('the facts of a node', () => {
  it.each<{ what: string; allocatable: Record<string, string>; score: number }>([
    { what: 'tells nothing', allocatable: {}, score: 0 },
    { what: 'is small', allocatable: { cpu: '1', memory: '1Gi' }, score: 85 },
    { what: 'is large', allocatable: { cpu: '64', memory: '256Gi' }, score: 99 },
    { what: 'tells of its memory alone', allocatable: { memory: '400Mi' }, score: 50 },
    { what: 'tells of more than there is', allocatable: { cpu: '1e308', memory: '400Mi' }, score: 50 },
  ])('that $what score $score by resources', ({ allocatable, score }) => {
    expect(factsOf(node({ allocatable })).resourcesScore).toBe(score);
  });

  it('hold own labels only', () => {
    expect(factsOf(node({}))).toMatchObject({ zone: undefined, hasHostname: false });
    const labels = { 'kubernetes.io/hostname': 'n', 'topology.kubernetes.io/zone': '' };
    expect(factsOf(node({}, labels))).toMatchObject({ zone: '', hasHostname: true });
  });

  it('share what nodes tell of themselves', () => {
    const info = () => ({ kubeletVersion: 'v1.36.0', containerRuntimeVersion: 'containerd://2.2.0' });
    const [one, other] = [node({ nodeInfo: info() }), node({ nodeInfo: info() })].map(factsOf);
    expect(one?.nodeInfo).toBe(other?.nodeInfo);
    expect(factsOf(node(undefined)).nodeInfo).toBeUndefined();
  });
});
