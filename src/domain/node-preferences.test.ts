import { describe, expect, it } from 'vitest';
import type { LabelSelector, PreferredSchedulingTerm, TopologySpreadConstraint } from './kubernetes.ts';
import { preferencesOf } from './node-preferences.ts';

const LABELS = { app: 'web', tier: 'front' };
const OWN: LabelSelector = { matchLabels: { app: 'web' } };
const TERM: PreferredSchedulingTerm = {
  weight: 10,
  preference: { matchExpressions: [{ key: 'disk', operator: 'In', values: ['ssd'] }] },
};

function constraint(more: Partial<TopologySpreadConstraint>): TopologySpreadConstraint {
  return {
    ...{ topologyKey: 'zone', maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule', labelSelector: OWN },
    ...more,
  };
}

function spreadOf(more: Partial<TopologySpreadConstraint>) {
  return preferencesOf({ topologySpreadConstraints: [constraint(more)] }, LABELS)?.topologySpreadConstraints;
}

describe('preferencesOf', () => {
  it('is nothing where a pod prefers nothing', () => {
    expect(preferencesOf({}, LABELS)).toBeUndefined();
    const required = {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [TERM.preference] },
    };
    expect(preferencesOf({ affinity: { nodeAffinity: required } }, LABELS)).toBeUndefined();
  });

  it.each<{ what: string; term: PreferredSchedulingTerm; kept: boolean }>([
    { what: 'a term', term: TERM, kept: true },
    {
      what: 'a term of fields',
      term: {
        weight: 100,
        preference: { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n'] }] },
      },
      kept: true,
    },
    { what: 'an empty term, which matches nothing', term: { weight: 10, preference: {} }, kept: false },
    { what: 'a term without weight', term: { ...TERM, weight: 0 }, kept: false },
    { what: 'a weight that the schema refuses', term: { ...TERM, weight: 101 }, kept: false },
    { what: 'a weight that is not whole', term: { ...TERM, weight: 1.5 }, kept: false },
  ])('of $what, kept: $kept', ({ term, kept }) => {
    const nodeAffinity = { preferredDuringSchedulingIgnoredDuringExecution: [term] };
    const preferences = preferencesOf({ affinity: { nodeAffinity } }, LABELS);
    expect(preferences).toEqual(kept ? { nodeAffinity: [term] } : undefined);
  });

  it.each<{ what: string; more: Partial<TopologySpreadConstraint>; counts: boolean }>([
    { what: 'its own pods', more: {}, counts: true },
    { what: 'other pods', more: { labelSelector: { matchLabels: { app: 'db' } } }, counts: false },
    {
      what: 'pods of which its own lack a label',
      more: { labelSelector: { matchLabels: { app: 'web', x: 'y' } } },
      counts: false,
    },
    {
      what: 'none, having no selector',
      more: { labelSelector: undefined as unknown as LabelSelector },
      counts: false,
    },
    { what: 'none, having an empty selector', more: { labelSelector: {} }, counts: false },
    {
      what: 'its own pods by an expression',
      more: { labelSelector: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['back'] }] } },
      counts: true,
    },
    {
      what: 'other pods by an expression',
      more: { labelSelector: { matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] } },
      counts: false,
    },
    { what: 'its own pods of one template', more: { matchLabelKeys: ['pod-template-hash'] }, counts: true },
    {
      what: 'its own pods by a key alone',
      more: { labelSelector: {}, matchLabelKeys: ['tier'] },
      counts: true,
    },
    {
      what: 'none, by a key that they lack',
      more: { labelSelector: {}, matchLabelKeys: ['zone'] },
      counts: false,
    },
    { what: 'its own pods, with a skew of nothing', more: { maxSkew: 0 }, counts: false },
    { what: 'its own pods, with an unknown action', more: { whenUnsatisfiable: 'Wish' }, counts: false },
    { what: 'its own pods, by no topology', more: { topologyKey: '' }, counts: false },
  ])('a constraint that counts $what is in effect: $counts', ({ more, counts }) => {
    expect(spreadOf(more)).toHaveLength(counts ? 1 : 0);
  });

  it('takes no more constraints than the schema of a task', () => {
    const topologySpreadConstraints = Array.from({ length: 30 }, (_, index) =>
      constraint({ topologyKey: `key-${index}`, ...(index < 5 ? { labelSelector: {} } : {}) }),
    );
    const read = preferencesOf({ topologySpreadConstraints }, LABELS)?.topologySpreadConstraints;
    expect(read?.map(({ topologyKey }) => topologyKey)).toEqual(
      Array.from({ length: 10 }, (_, index) => `key-${index + 5}`),
    );
  });

  it('keeps an empty list where the pod has constraints: the defaults of the scheduler are not for it', () => {
    expect(spreadOf({ labelSelector: {} })).toEqual([]);
  });

  it.each<{ what: string; more: Partial<TopologySpreadConstraint>; effective: object }>([
    {
      what: 'drops what is the default',
      more: { minDomains: 1, nodeAffinityPolicy: 'Honor', nodeTaintsPolicy: 'Ignore' },
      effective: {},
    },
    {
      what: 'keeps what is not',
      more: { minDomains: 2, nodeAffinityPolicy: 'Ignore', nodeTaintsPolicy: 'Honor' },
      effective: { minDomains: 2, nodeAffinityPolicy: 'Ignore', nodeTaintsPolicy: 'Honor' },
    },
    {
      what: 'drops of a soft one what says of which domains the emptiest is taken',
      more: { whenUnsatisfiable: 'ScheduleAnyway', nodeTaintsPolicy: 'Honor' },
      effective: { whenUnsatisfiable: 'ScheduleAnyway' },
    },
  ])('$what', ({ more, effective }) => {
    expect(spreadOf(more)).toEqual([
      { topologyKey: 'zone', maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule', ...effective },
    ]);
  });
});
