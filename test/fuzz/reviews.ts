import fc from 'fast-check';
import {
  dictionary,
  hostile,
  type Json,
  list,
  mostly,
  ODD_KEYS,
  object,
  oddText,
  oneOf,
  word,
} from './json-text.ts';

/** A request to the webhook: reviews of every kind of workload, and of warmers, with something wrong here and there. */
export type Case = { path: '/mutate' | '/pin'; body: string };

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const image = fc.oneof(
  {
    weight: 4,
    arbitrary: oneOf('nginx', 'nginx:1', 'docker.io/library/nginx:1', 'registry:5000/a/b:c', `a@${DIGEST}`),
  },
  {
    weight: 1,
    arbitrary: oneOf('', 'Nginx', 'a b', `a:1@${DIGEST}`, 'a@sha256:1', ':', '/', 'a/', '[::1]:5000/a', '-'),
  },
  { weight: 1, arbitrary: word },
  { weight: 1, arbitrary: oddText },
);
const policy = oneOf('Always', 'IfNotPresent', 'Never', '', 'always');

const label = fc.oneof(
  fc.constantFrom('disk', 'kubernetes.io/hostname', 'topology.kubernetes.io/zone', 'app'),
  fc.constantFrom(...ODD_KEYS),
);
const labels = dictionary(label, oneOf('ssd', 'a', '', 'true'));
const requirement = object({
  key: fc.oneof(word, oneOf('disk', 'metadata.name', '')),
  operator: oneOf('In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt', 'in', ''),
  values: list(oneOf('a', 'b', '5', '-9223372036854775809', '')),
});
const term = object({ matchExpressions: list(requirement, 3), matchFields: list(requirement, 2) });
const toleration = object({
  key: oneOf('spot', 'node.kubernetes.io/unschedulable', ''),
  operator: oneOf('Equal', 'Exists', 'Gt', 'Lt', ''),
  value: oneOf('a', '', '7'),
  effect: oneOf('NoSchedule', 'NoExecute', 'PreferNoSchedule', ''),
  tolerationSeconds: oneOf(1, -1, 0.5, 9007199254740992),
});
const container = object({ name: oneOf('main', 'proxy', 'init', ''), image, imagePullPolicy: policy }, [
  'image',
]);
const podSpec = object({
  containers: list(container),
  initContainers: list(container, 2),
  ephemeralContainers: list(container, 1),
  volumes: list(
    object({ name: word, image: object({ reference: image, pullPolicy: policy }), emptyDir: oneOf({}) }),
    2,
  ),
  nodeName: word,
  nodeSelector: labels,
  affinity: object({
    nodeAffinity: object({
      requiredDuringSchedulingIgnoredDuringExecution: object({ nodeSelectorTerms: list(term, 3) }),
      preferredDuringSchedulingIgnoredDuringExecution: list(
        object({ weight: oneOf(1, 100), preference: term }),
        2,
      ),
    }),
  }),
  tolerations: list(toleration, 3),
  imagePullSecrets: list(object({ name: oneOf('secret', '', 'x'.repeat(300)) }), 2),
  serviceAccountName: oneOf('default', 'web', ''),
  serviceAccount: oneOf('old'),
  runtimeClassName: oneOf('kata', ''),
  os: object({ name: oneOf('linux', 'windows', 'plan9') }),
  hostNetwork: oneOf(true, false),
  topologySpreadConstraints: list(
    object({
      maxSkew: oneOf(1, 0),
      topologyKey: word,
      whenUnsatisfiable: oneOf('DoNotSchedule'),
      labelSelector: object({ matchLabels: labels, matchExpressions: list(requirement, 1) }),
    }),
    1,
  ),
});

const setting = fc.constantFrom(
  ...[
    'ips/priority',
    'ips/max-nodes',
    'ips/concurrent-pulls',
    'ips/timeout',
    'ips/retry-limit',
    'ips/notify',
  ],
  ...[
    'ips/retry-strategy',
    'ips/exclude-containers',
    'ips/extra-images',
    'ips/status',
    'ips/task',
    'ips/message',
  ],
  ...['ips/last-warmed', 'ips/nodes', 'ips/unknown', 'team', ...ODD_KEYS],
);
const settingValue = fc.oneof(
  oneOf(
    '3',
    '0',
    '99',
    '25%',
    '100%',
    '0%',
    '90s',
    '25h',
    'linear',
    'exponential',
    'main,proxy',
    'a,,b',
    'nginx,redis:7',
  ),
  word,
  oddText,
);
/** The opt-in more often than chance would have it. */
const annotations = fc
  .tuple(
    fc.oneof(
      { weight: 6, arbitrary: oneOf('true') },
      { weight: 2, arbitrary: oneOf('false', 'yes', '', 'True') },
      { weight: 1, arbitrary: hostile },
      { weight: 2, arbitrary: fc.constant('') },
    ),
    dictionary(setting, settingValue, 3),
  )
  .map(([optIn, others]) =>
    optIn ? others.replace('{', `{"ips/prewarm":${optIn}${others === '{}' ? '' : ','}`) : others,
  );
const owner = object({
  apiVersion: oneOf('apps/v1', 'batch/v1', 'v1', 'example.com/v1'),
  kind: oneOf('ReplicaSet', 'Job', 'Database'),
  name: word,
  uid: word,
  controller: oneOf(true, false),
});
const managed = object({
  manager: word,
  subresource: oneOf('', 'status'),
  fieldsV1: object({ 'f:spec': object({ 'f:nodeName': oneOf({}), 'f:containers': oneOf({}) }) }),
});
const metadata = object(
  {
    name: word,
    namespace: oneOf('shop', 'kube-system'),
    uid: word,
    resourceVersion: oneOf('5', '0', ''),
    generation: oneOf(1, 0.5, -1),
    creationTimestamp: oneOf('2026-01-01T00:00:00Z', null),
    labels: fc.oneof(labels, oneOf({ 'ips/prewarm': 'true' }, { 'ips/prewarm': 'x' }, {})),
    annotations,
    ownerReferences: fc.oneof({ weight: 5, arbitrary: oneOf([]) }, { weight: 1, arbitrary: list(owner, 2) }),
    managedFields: list(managed, 2),
    deletionTimestamp: fc.oneof(
      { weight: 5, arbitrary: oneOf(null) },
      { weight: 1, arbitrary: oneOf('2026-01-01T00:00:00Z') },
    ),
  },
  ['annotations'],
);

const template = object({ metadata: object({ labels, annotations }), spec: podSpec }, ['spec']);
const withTemplate = object({ replicas: oneOf(0, 3, -1), selector: oneOf({}), template }, ['template']);
const GROUPS: Record<string, [string, Json]> = {
  Deployment: ['apps', withTemplate],
  StatefulSet: ['apps', withTemplate],
  DaemonSet: ['apps', withTemplate],
  ReplicaSet: ['apps', withTemplate],
  Job: ['batch', withTemplate],
  CronJob: ['batch', object({ jobTemplate: object({ spec: withTemplate }) }, ['jobTemplate'])],
  Rollout: ['argoproj.io', withTemplate],
  Pod: ['', podSpec],
};

const status = object({ phase: oneOf('Pending', 'Running', 'Succeeded'), conditions: list(hostile, 1) });

function reviewOf(group: string, kind: string, spec: Json, meta: Json): Json {
  const version = group === 'argoproj.io' ? 'v1alpha1' : 'v1';
  const apiVersion = group ? `${group}/${version}` : version;
  const subject = object({ apiVersion: oneOf(apiVersion), kind: oneOf(kind), metadata: meta, spec, status }, [
    'metadata',
    'spec',
  ]);
  const request = object(
    {
      uid: oneOf('u1', '', '705ab4f5-6393-11e8-b7cc-42010a800002'),
      kind: object({ group: oneOf(group), version: oneOf(version), kind: oneOf(kind) }, [
        'group',
        'version',
        'kind',
      ]),
      namespace: oneOf('shop', 'shop', 'kube-system'),
      operation: oneOf('CREATE', 'UPDATE'),
      dryRun: oneOf(true, false),
      object: subject,
      userInfo: oneOf({ username: 'admin' }),
    },
    ['uid', 'kind', 'object'],
  );
  return object({ apiVersion: oneOf('admission.k8s.io/v1'), kind: oneOf('AdmissionReview'), request }, [
    'request',
  ]);
}

const warmer = object(
  {
    name: word,
    labels: object({
      'ips/warmer': oneOf('true', 'true', 'false'),
      'batch.kubernetes.io/job-completion-index': oneOf('0', '1', '9', '-1', '1e1', '999999', '٣'),
    }),
    annotations: object({
      'ips/nodes': oneOf('node-a,node-b', 'node-a', '', ',', 'Node A', 'node-a,..', `${'n,'.repeat(99_999)}`),
      'batch.kubernetes.io/job-completion-index': oneOf('0', 'x'),
    }),
  },
  ['labels', 'annotations'],
);

/** A real text with something struck out, put in, or cut off: mostly no JSON any more. */
function damaged(text: Json): Json {
  return fc
    .tuple(
      text,
      fc.nat(),
      fc.nat(20),
      fc.constantFrom('', '"', '}', '\\', ',', '\u0000', '\\ud800', 'e', '{"a":'),
    )
    .map(([whole, at, length, put]) => {
      const start = at % (whole.length + 1);
      // Half a character is not what arrives: in UTF-8 there is none.
      return `${whole.slice(0, start)}${put}${whole.slice(start + length)}`.toWellFormed();
    });
}

const reviews: Json[] = Object.entries(GROUPS).map(([kind, [group, spec]]) =>
  reviewOf(group, kind, spec, metadata),
);
const mutations = fc.oneof(
  ...reviews.map((arbitrary, index) => ({ weight: index === 0 ? 4 : 2, arbitrary })),
  { weight: 1, arbitrary: damaged(reviews[0] ?? hostile) },
  { weight: 1, arbitrary: mostly(hostile) },
);
const pins = fc.oneof(
  {
    weight: 8,
    arbitrary: reviewOf(
      '',
      'Pod',
      object({ nodeName: oneOf('node-a', ''), containers: list(container, 1) }),
      warmer,
    ),
  },
  { weight: 1, arbitrary: reviewOf('', 'Pod', podSpec, metadata) },
  { weight: 1, arbitrary: hostile },
);

export const cases: fc.Arbitrary<Case> = fc.oneof(
  { weight: 5, arbitrary: mutations.map((body): Case => ({ path: '/mutate', body })) },
  { weight: 2, arbitrary: pins.map((body): Case => ({ path: '/pin', body })) },
);
