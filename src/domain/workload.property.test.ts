import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type {
  KubernetesObject,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  Toleration,
} from './kubernetes.ts';
import { planOf, workloadOf } from './workload.ts';
import { type WorkloadType, workloadTypes } from './workload-types.ts';

const TYPES = workloadTypes([]);
const DEPLOYMENT = TYPES.get('apps/Deployment') as WorkloadType;

/** What a workload means, of which each may be written in several ways. */
type Meaning = {
  images: { name: string; always: boolean }[];
  secrets: string[];
  account: string | undefined;
  runtimeClass: string | undefined;
  selector: Record<string, string>;
  terms: NodeSelectorRequirement[][] | undefined;
  tolerations: Toleration[];
  maxNodes: string | undefined;
};

const word = fc.constantFrom('a', 'b', 'c');
const requirement: fc.Arbitrary<NodeSelectorRequirement> = fc.oneof(
  fc.record({
    key: word,
    operator: fc.constantFrom('In', 'NotIn'),
    values: fc.uniqueArray(word, { minLength: 1 }),
  }),
  fc.record({ key: word, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
);
const meaning: fc.Arbitrary<Meaning> = fc.record({
  images: fc.uniqueArray(
    fc.record({
      name: fc.constantFrom('nginx:latest', 'nginx:1', 'redis:7', 'team/app:1', 'registry:5000/app:1'),
      always: fc.boolean(),
    }),
    { minLength: 1, selector: ({ name }) => name },
  ),
  secrets: fc.uniqueArray(word),
  account: fc.option(fc.constantFrom('default', 'web'), { nil: undefined }),
  runtimeClass: fc.option(fc.constantFrom('kata'), { nil: undefined }),
  selector: fc.dictionary(word, word),
  terms: fc.option(
    fc.array(fc.array(requirement, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 }),
    {
      nil: undefined,
    },
  ),
  tolerations: fc.array(
    fc.record(
      { key: word, operator: fc.constantFrom('Exists'), effect: fc.constantFrom('NoSchedule', 'NoExecute') },
      { requiredKeys: ['key', 'operator'] },
    ),
    { maxLength: 3 },
  ),
  maxNodes: fc.option(fc.constantFrom('2', '25%'), { nil: undefined }),
});

type Choose = (count: number) => number;

function mixed<T>(list: readonly T[], choose: Choose): T[] {
  const rest = [...list];
  return list.map(() => rest.splice(choose(rest.length), 1)[0] as T);
}

/** In another order, and some of it twice. */
function repeated<T>(list: readonly T[], choose: Choose): T[] {
  return mixed([...list, ...list.filter(() => choose(3) === 0)], choose);
}

function spelled(image: string, choose: Choose): string {
  const [repository = '', tag = ''] = image.split(/:(?=[^/]*$)/);
  const short = tag === 'latest' && choose(2) === 0 ? repository : image;
  if (repository.includes(':')) return short;
  const paths = repository.includes('/') ? [''] : ['', 'library/'];
  const path = paths[choose(paths.length)] ?? '';
  return ['', 'docker.io/', 'index.docker.io/'][choose(3)] + path + short;
}

/** A Deployment that means that, in one of the ways to write it. */
function written(of: Meaning, choose: Choose): KubernetesObject {
  const containers = repeated(of.images, choose).map(({ name, always }, index) => ({
    name: `c${index}`,
    image: spelled(name, choose),
    imagePullPolicy: always ? 'Always' : 'IfNotPresent',
  }));
  const volumes = containers.splice(0, choose(2)).map(({ name, image, imagePullPolicy }) => ({
    name,
    image: { reference: image, pullPolicy: imagePullPolicy },
  }));
  const half = choose(containers.length + 1);
  const empty = <T extends object>(value: T) => Object.keys(value).length === 0 && choose(2) === 0;
  const requirements = (list: NodeSelectorRequirement[]) =>
    repeated(list, choose).map((each) =>
      each.values
        ? { ...each, values: repeated(each.values, choose) }
        : choose(2) === 0
          ? each
          : { ...each, values: [] },
    );
  const terms: NodeSelectorTerm[] | undefined =
    of.terms &&
    repeated(of.terms, choose).map((list) => ({
      matchExpressions: requirements(list),
      ...(choose(2) === 0 ? { matchFields: [] } : {}),
    }));
  const tolerations = repeated(of.tolerations, choose).map((each) =>
    choose(2) === 0 ? each : { ...each, value: '', tolerationSeconds: choose(9) },
  );
  const secrets = repeated(of.secrets, choose).map((name) => ({ name }));
  const account = of.account === 'default' && choose(2) === 0 ? undefined : of.account;
  const maxNodes = of.maxNodes ?? (choose(2) === 0 ? '100%' : undefined);
  const spec = {
    initContainers: containers.slice(0, half),
    containers: containers.slice(half),
    volumes: [{ name: 'data', emptyDir: {} }, ...volumes],
    ...(empty(secrets) ? {} : { imagePullSecrets: secrets }),
    ...(account ? { [['serviceAccountName', 'serviceAccount'][choose(2)] ?? '']: account } : {}),
    ...(of.runtimeClass ? { runtimeClassName: of.runtimeClass } : {}),
    ...(empty(of.selector)
      ? {}
      : { nodeSelector: Object.fromEntries(mixed(Object.entries(of.selector), choose)) }),
    ...(terms
      ? {
          affinity: {
            nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } },
          },
        }
      : {}),
    ...(empty(tolerations) ? {} : { tolerations }),
  };
  const annotations = { 'ips/prewarm': 'true', ...(maxNodes ? { 'ips/max-nodes': maxNodes } : {}) };
  return {
    metadata: { name: `web-${choose(9)}`, namespace: 'shop', uid: `u${choose(9)}`, annotations },
    spec: { replicas: choose(50), template: { spec } },
    status: { replicas: choose(50) },
  } as KubernetesObject;
}

const first: Choose = () => 0;
/** The hash of the template, which is part of it where an image is pulled at every start, is left to its own tests. */
function printOf(object: KubernetesObject): string {
  const { templateHash: _, ...workload } = workloadOf(TYPES, DEPLOYMENT, object);
  return planOf(workload).fingerprint;
}

const change: fc.Arbitrary<{ what: string; to: (of: Meaning) => Meaning }> = fc.constantFrom(
  { what: 'an image', to: (of) => ({ ...of, images: [...of.images, { name: 'other:1', always: false }] }) },
  {
    what: 'a tag',
    to: (of) => ({ ...of, images: of.images.map((each) => ({ ...each, name: `${each.name}1` })) }),
  },
  {
    what: 'a pull policy',
    to: (of) => ({ ...of, images: of.images.map((each) => ({ ...each, always: !each.always })) }),
  },
  { what: 'a secret', to: (of) => ({ ...of, secrets: [...of.secrets, 'd'] }) },
  { what: 'the account', to: (of) => ({ ...of, account: of.account === 'web' ? undefined : 'web' }) },
  { what: 'the runtime class', to: (of) => ({ ...of, runtimeClass: of.runtimeClass ? undefined : 'kata' }) },
  { what: 'a selector', to: (of) => ({ ...of, selector: { ...of.selector, d: 'e' } }) },
  {
    what: 'a term',
    to: (of) => ({ ...of, terms: [...(of.terms ?? []), [{ key: 'd', operator: 'Exists' }]] }),
  },
  {
    what: 'a toleration',
    to: (of) => ({ ...of, tolerations: [...of.tolerations, { key: 'd', operator: 'Exists' }] }),
  },
  { what: 'the number of nodes', to: (of) => ({ ...of, maxNodes: of.maxNodes === '3' ? undefined : '3' }) },
);

describe('the fingerprint of a workload', () => {
  it('is the same for what is the same, however it is written', () => {
    fc.assert(
      fc.property(meaning, fc.infiniteStream(fc.nat()), (of, numbers) => {
        const choose: Choose = (count) => (numbers.next().value ?? 0) % count;
        const object = written(of, choose);
        expect(printOf(object), JSON.stringify(object)).toBe(printOf(written(of, first)));
      }),
      { numRuns: 1000 },
    );
  });

  it('is another where a pull would be another', () => {
    fc.assert(
      fc.property(meaning, change, (of, { what, to }) => {
        expect(printOf(written(to(of), first)), what).not.toBe(printOf(written(of, first)));
      }),
      { numRuns: 1000 },
    );
  });

  it('changes with the template where an image is pulled at every start, and with its scale never', () => {
    fc.assert(
      fc.property(meaning, fc.nat(), (of, replicas) => {
        const object = written(of, first) as KubernetesObject & { spec: { template: object } };
        const print = (each: KubernetesObject) => planOf(workloadOf(TYPES, DEPLOYMENT, each)).fingerprint;
        const scaled = { ...object, spec: { ...object.spec, replicas }, status: { replicas } };
        expect(print(scaled)).toBe(print(object));
        const template = { ...object.spec.template, metadata: { annotations: { restartedAt: 'now' } } };
        const restarted = { ...object, spec: { ...object.spec, template } } as KubernetesObject;
        expect(print(restarted) !== print(object)).toBe(of.images.some(({ always }) => always));
      }),
      { numRuns: 300 },
    );
  });
});
