import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KubernetesObject, OwnerReference, Pod, PodSpec, PodTemplate } from './kubernetes.ts';
import {
  carriesLabel,
  isControlled,
  planOf,
  planOfKept,
  workloadOf as readWorkload,
  type Workload,
  wantsPrewarm,
} from './workload.ts';
import { readCustomWorkloads, workloadTypes } from './workload-types.ts';

type Deployment = KubernetesObject & { spec?: { template?: PodTemplate } };

const TYPES = workloadTypes(readCustomWorkloads('rollouts.argoproj.io/v1alpha1:Rollout:spec.template').types);

function workloadOf(kind: string, object: KubernetesObject): Workload {
  const type = [...TYPES.values()].find((each) => each.kind === kind);
  if (!type) throw new Error(`${kind} is no workload`);
  return readWorkload(TYPES, type, object);
}

const OPTED_IN = { 'ips/prewarm': 'true' };
const DIGEST = `sha256:${'ab'.repeat(32)}`;

function deployment(spec: PodSpec, metadata: object = { annotations: OPTED_IN }): Deployment {
  return {
    metadata: { name: 'web', namespace: 'shop', uid: 'u1', ...metadata },
    spec: { template: { metadata: {}, spec } },
  };
}

function plan(spec: PodSpec, annotations: Record<string, string> = {}) {
  return planOf(workloadOf('Deployment', deployment(spec, { annotations: { ...OPTED_IN, ...annotations } })));
}

function container(image: string | undefined, imagePullPolicy?: string, name = 'main') {
  return { name, ...(image === undefined ? {} : { image }), ...(imagePullPolicy ? { imagePullPolicy } : {}) };
}

describe('workloadOf', () => {
  it('keeps of a Deployment what is used, and nothing of the rest', () => {
    const object = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: {
        name: 'web',
        namespace: 'shop',
        uid: 'u1',
        resourceVersion: '5',
        generation: 2,
        creationTimestamp: 't0',
        labels: { a: 'b', 'ips/prewarm': 'true' },
        annotations: { ...OPTED_IN, long: 'story' },
        ownerReferences: [],
        managedFields: [{}],
        selfLink: 'x',
      },
      spec: {
        replicas: 3,
        template: {
          metadata: { labels: { app: 'web' }, annotations: { 'ips/priority': '3' } },
          spec: {
            containers: [{ name: 'main', image: 'app:1', env: [{ name: 'SECRET', value: 'x' }] }],
            initContainers: [{ name: 'init', image: 'init:1', command: ['sh'] }],
            volumes: [
              { name: 'data', emptyDir: {} },
              { name: 'model', image: { reference: 'model:1' } },
            ],
            affinity: {
              podAntiAffinity: {},
              nodeAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] },
                preferredDuringSchedulingIgnoredDuringExecution: [],
              },
            },
            nodeSelector: { disk: 'ssd' },
            dnsPolicy: 'Default',
          },
        },
      },
      status: { replicas: 3 },
    };
    expect(workloadOf('Deployment', object as KubernetesObject)).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: {
        name: 'web',
        namespace: 'shop',
        uid: 'u1',
        resourceVersion: '5',
        generation: 2,
        creationTimestamp: 't0',
        labels: OPTED_IN,
        annotations: OPTED_IN,
        ownerReferences: [],
      },
      template: {
        annotations: { 'ips/priority': '3' },
        labels: { app: 'web' },
        warnings: [],
        spec: {
          containers: [{ name: 'main', image: 'app:1' }],
          initContainers: [{ name: 'init', image: 'init:1' }],
          volumes: [{ name: 'model', image: { reference: 'model:1' } }],
          affinity: {
            nodeAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] },
              preferredDuringSchedulingIgnoredDuringExecution: [],
            },
          },
          nodeSelector: { disk: 'ssd' },
        },
      },
      finished: false,
      controlled: false,
    });
  });

  it.each<{ what: string; object: KubernetesObject }>([
    { what: 'a Deployment without a spec', object: { metadata: { name: 'x' } } },
    { what: 'one without a template', object: { metadata: { name: 'x' }, spec: {} } as Deployment },
    {
      what: 'one whose template is empty',
      object: { metadata: { name: 'x' }, spec: { template: {} } } as Deployment,
    },
  ])('reads $what', ({ object }) => {
    expect(workloadOf('Deployment', object)).toMatchObject({ template: { annotations: {}, spec: {} } });
    expect(planOf(workloadOf('Deployment', object)).images).toEqual([]);
  });

  it.each<{ policy: string; more?: Record<string, string>; hash: boolean }>([
    { policy: 'Always', hash: true },
    { policy: 'IfNotPresent', hash: false },
    { policy: 'Always', more: { 'ips/exclude-containers': 'main' }, hash: false },
  ])('takes the hash of the template only where it counts: $policy $more', ({ policy, more, hash }) => {
    const object = deployment({ containers: [container('app:1', policy)] });
    object.metadata.annotations = { ...object.metadata.annotations, ...more };
    expect(workloadOf('Deployment', object).templateHash !== undefined).toBe(hash);
  });

  it('holds on to nothing of the object', () => {
    const object = deployment({ nodeSelector: { disk: 'ssd' } });
    const workload = workloadOf('Deployment', object);
    const { nodeSelector = {} } = object.spec?.template?.spec ?? {};
    nodeSelector['disk'] = 'hdd';
    expect(workload.template.spec.nodeSelector).toEqual({ disk: 'ssd' });
  });

  it.each<{ phase: string | undefined; finished: boolean }>([
    { phase: undefined, finished: false },
    { phase: 'Pending', finished: false },
    { phase: 'Running', finished: false },
    { phase: 'Succeeded', finished: true },
    { phase: 'Failed', finished: true },
  ])('a pod in phase $phase is finished: $finished', ({ phase, finished }) => {
    const pod: Pod = { metadata: { name: 'p' }, ...(phase ? { status: { phase } } : {}) };
    const workload = workloadOf('Pod', pod);
    expect(workload).toMatchObject({ apiVersion: 'v1', kind: 'Pod', finished });
    expect(workload).not.toHaveProperty('templateHash');
  });

  it.each<{ what: string; pod: Pod; nodeName: string | undefined }>([
    {
      what: 'the scheduler chose',
      pod: { metadata: {}, spec: { nodeName: 'n1' } },
      nodeName: undefined,
    },
    {
      what: 'the scheduler chose for a pod that a user made',
      pod: {
        metadata: { managedFields: [{ fieldsV1: { 'f:spec': { 'f:containers': {} } } }, {}] },
        spec: { nodeName: 'n1' },
      },
      nodeName: undefined,
    },
    {
      what: 'its user asked for',
      pod: {
        metadata: { managedFields: [{}, { fieldsV1: { 'f:spec': { 'f:nodeName': {} } } }] },
        spec: { nodeName: 'n1' },
      },
      nodeName: 'n1',
    },
    {
      what: 'somebody wrote in a subresource',
      pod: {
        metadata: {
          managedFields: [{ subresource: 'status', fieldsV1: { 'f:spec': { 'f:nodeName': {} } } }],
        },
        spec: { nodeName: 'n1' },
      },
      nodeName: undefined,
    },
    {
      what: 'nobody chose',
      pod: { metadata: { managedFields: [{ fieldsV1: { 'f:spec': { 'f:nodeName': {} } } }] }, spec: {} },
      nodeName: undefined,
    },
  ])('a pod needs the node that $what: $nodeName', ({ pod, nodeName }) => {
    expect(workloadOf('Pod', pod).template.spec.nodeName).toBe(nodeName);
  });
});

describe('which workloads are prewarmed', () => {
  const replicaSet: OwnerReference = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    name: 'web-1',
    uid: 'u',
    controller: true,
  };

  it.each<{ what: string; object: Deployment; wants: boolean }>([
    { what: 'opted in', object: deployment({}), wants: true },
    {
      what: 'opted in by its template',
      object: {
        metadata: { name: 'web' },
        spec: { template: { metadata: { annotations: OPTED_IN } } },
      },
      wants: true,
    },
    {
      what: 'opted out against its template',
      object: {
        metadata: { name: 'web', annotations: { 'ips/prewarm': 'false' } },
        spec: { template: { metadata: { annotations: OPTED_IN } } },
      },
      wants: false,
    },
    {
      what: 'only labelled, which is a cache and no wish',
      object: deployment({}, { labels: OPTED_IN }),
      wants: false,
    },
    {
      what: 'being deleted',
      object: deployment({}, { annotations: OPTED_IN, deletionTimestamp: 't' }),
      wants: false,
    },
    {
      what: 'owned by a built-in controller',
      object: deployment({}, { annotations: OPTED_IN, ownerReferences: [replicaSet] }),
      wants: false,
    },
    {
      what: 'owned by an operator of its own',
      object: deployment(
        {},
        {
          annotations: OPTED_IN,
          ownerReferences: [{ ...replicaSet, apiVersion: 'db.example/v1', kind: 'Database' }],
        },
      ),
      wants: true,
    },
  ])('a Deployment that is $what: $wants', ({ object, wants }) => {
    expect(wantsPrewarm(workloadOf('Deployment', object))).toBe(wants);
  });

  it('a pod that has ended has nothing left to start', () => {
    const pod = (phase: string): Pod => ({ metadata: { annotations: OPTED_IN }, status: { phase } });
    expect(wantsPrewarm(workloadOf('Pod', pod('Running')))).toBe(true);
    expect(wantsPrewarm(workloadOf('Pod', pod('Succeeded')))).toBe(false);
  });

  it.each<{ owner: Partial<OwnerReference>; controlled: boolean }>([
    { owner: {}, controlled: true },
    { owner: { apiVersion: 'batch/v1', kind: 'CronJob' }, controlled: true },
    { owner: { apiVersion: 'batch/v1', kind: 'Job' }, controlled: true },
    { owner: { apiVersion: 'v1', kind: 'ReplicationController' }, controlled: true },
    { owner: { apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout' }, controlled: true },
    { owner: { apiVersion: 'argoproj.io/v2', kind: 'Rollout' }, controlled: true },
    { owner: { apiVersion: 'argoproj.io/v1alpha1', kind: 'Application' }, controlled: false },
    { owner: { apiVersion: 'other.example/v1alpha1', kind: 'Rollout' }, controlled: false },
    { owner: { apiVersion: 'policy/v1' }, controlled: false },
    { owner: { controller: false }, controlled: false },
  ])('what an owner like $owner has is controlled: $controlled', ({ owner, controlled }) => {
    const merely = { apiVersion: 'v1', kind: 'Node', name: 'n', uid: 'n' };
    expect(isControlled(TYPES, [merely, { ...replicaSet, ...owner }])).toBe(controlled);
    expect(isControlled(TYPES, undefined)).toBe(false);
  });

  it.each<{ labels: Record<string, string> | undefined; carries: boolean }>([
    { labels: undefined, carries: false },
    { labels: { 'ips/prewarm': 'false' }, carries: false },
    { labels: { 'ips/prewarm': 'true' }, carries: true },
  ])('labels $labels carry the opt-in: $carries', ({ labels, carries }) => {
    const workload: Workload = workloadOf('Deployment', deployment({}, labels ? { labels } : {}));
    expect(carriesLabel(workload)).toBe(carries);
  });
});

describe('the images of a plan', () => {
  it.each<{ what: string; spec: PodSpec; images: string[]; warnings?: string[] }>([
    { what: 'none', spec: {}, images: [] },
    {
      what: 'those of containers, init containers and image volumes, by name, each once',
      spec: {
        containers: [container('nginx:1.27'), container('quay.io/team/tool:1')],
        initContainers: [container('docker.io/library/nginx:1.27')],
        volumes: [{ name: 'data' }, { name: 'model', image: { reference: 'registry:5000/model:3' } }],
      },
      images: [
        'docker.io/library/nginx:1.27 IfNotPresent',
        'quay.io/team/tool:1 IfNotPresent',
        'registry:5000/model:3 IfNotPresent',
      ],
    },
    {
      what: 'a digest without its tag',
      spec: { containers: [container(`nginx:1.27@${DIGEST}`)] },
      images: [`docker.io/library/nginx@${DIGEST} IfNotPresent`],
    },
    {
      what: 'none that the kubelet would never pull',
      spec: { containers: [container('nginx:1', 'Never'), container('redis:1', 'Always')] },
      images: ['docker.io/library/redis:1 Always'],
      warnings: ['container main: image "nginx:1" is left out: its pull policy is Never'],
    },
    {
      what: 'the latest, which is pulled at every start, unless somebody says otherwise',
      spec: {
        containers: [container('a'), container('b:latest'), container('c', 'IfNotPresent')],
        volumes: [{ name: 'd', image: { reference: 'd' } }],
      },
      images: [
        'docker.io/library/a:latest Always',
        'docker.io/library/b:latest Always',
        'docker.io/library/c:latest IfNotPresent',
        'docker.io/library/d:latest Always',
      ],
    },
    {
      what: 'one that is pulled at every start by one of two containers',
      spec: { containers: [container('a:1', 'Always'), container('a:1', 'IfNotPresent')] },
      images: ['docker.io/library/a:1 Always'],
    },
    {
      what: 'one that is pulled at every start by the other of two containers',
      spec: { containers: [container('a:1', 'IfNotPresent'), container('a:1', 'Always')] },
      images: ['docker.io/library/a:1 Always'],
    },
    {
      what: 'nothing of a container that names no image yet',
      spec: {
        containers: [container(undefined), container('')],
        volumes: [{ name: 'v', image: { pullPolicy: 'Always' } }],
      },
      images: [],
      warnings: ['container main names no image', 'container main names no image', 'volume v names no image'],
    },
  ])('are $what', ({ spec, images, warnings = [] }) => {
    const found = plan(spec);
    expect(found.images.map(({ image, pullPolicy }) => `${image} ${pullPolicy}`)).toEqual(images);
    expect(found.warnings).toEqual(warnings);
  });

  it('leave out excluded containers, and take extra ones in', () => {
    const spec = {
      containers: [container('a:1', undefined, 'main'), container('b:1', 'Always', 'proxy')],
      initContainers: [container('c:1', undefined, 'setup')],
    };
    const annotations = { 'ips/exclude-containers': 'proxy,setup,ghost', 'ips/extra-images': 'd:2, a:1' };
    expect(plan(spec, annotations)).toMatchObject({
      images: [
        { image: 'docker.io/library/a:1', pullPolicy: 'IfNotPresent' },
        { image: 'docker.io/library/d:2', pullPolicy: 'IfNotPresent' },
      ],
      warnings: ['annotation ips/exclude-containers: there is no container ghost'],
    });
  });

  it('leave out each container of an excluded name, and end where a list is too long', () => {
    const twice = [container('a:1', undefined, 'main'), container('b:1', undefined, 'main')];
    const commas = plan(
      { containers: twice },
      { 'ips/exclude-containers': `main${','.repeat(100_000)}ghost` },
    );
    expect(commas).toMatchObject({
      images: [],
      warnings: [
        'annotation ips/exclude-containers: "main,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,…" is too long: the first 1000 entries count',
      ],
    });
  });

  it('leave out a hundred that are wrong, and count the rest', () => {
    const wrong = Array.from({ length: 300 }, (_, index) => container('A', undefined, `c${index}`));
    const { images, warnings } = plan({ containers: [container('good:1'), ...wrong] });
    expect(images).toHaveLength(1);
    expect(warnings).toHaveLength(101);
    expect(warnings.at(-1)).toBe('200 more images are left out unread');
  });

  it('leave out what is longer than any reference, and name no more of it than tells which it is', () => {
    const { images, warnings } = plan({
      containers: [container('a'.repeat(100_000), undefined, 'n'.repeat(1000))],
    });
    expect(images).toEqual([]);
    expect(warnings).toEqual([
      `container "${'n'.repeat(60)}…": image "${'a'.repeat(60)}…" is left out: it is longer than any reference`,
    ]);
  });

  it('leave out what is no reference, say so, and go on', () => {
    const spec = {
      containers: [container('Nginx:1'), container('a:1', undefined, 'good')],
      volumes: [{ name: 'v', image: { reference: 'a b' } }],
    };
    const { images, warnings } = plan(spec, { 'ips/extra-images': 'c:1,d@sha256:1' });
    expect(images.map(({ image }) => image)).toEqual(['docker.io/library/a:1', 'docker.io/library/c:1']);
    expect(warnings).toEqual([
      'container main: image "Nginx:1" is left out: repository "Nginx" must be lowercase',
      'volume v: image "a b" is left out: image reference "a b" contains white space',
      expect.stringMatching(
        /^annotation ips\/extra-images: image "d@sha256:1" is left out: digest "sha256:1" does not have 64/,
      ),
    ]);
  });

  it('are a hundred, of which one is named again without a warning, and pulled at every start', () => {
    const many = Array.from({ length: 100 }, (_, index) =>
      container(`app-${index}:1`, undefined, `c${index}`),
    );
    const found = plan({ containers: [...many, container('app-7:1', 'Always', 'again')] });
    expect(found.images).toHaveLength(100);
    expect(found.images).toContainEqual({ image: 'docker.io/library/app-7:1', pullPolicy: 'Always' });
    expect(found.warnings).toEqual([]);
  });

  it('are no more, and no longer, than the PrewarmTask schema takes; the rest is left out with a warning', () => {
    const many = Array.from({ length: 120 }, (_, index) => `app-${index}:1`).join();
    const found = plan({}, { 'ips/extra-images': many });
    expect(found.images.length).toBeLessThanOrEqual(100);
    expect(found.warnings.length).toBeGreaterThan(0);
    const fits = `r.example/${'d'.repeat(255)}:${'e'.repeat(128)}`;
    expect(plan({ containers: [container(fits)] }).images).toHaveLength(1);
    const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.example/${'d'.repeat(250)}:${'e'.repeat(128)}`;
    for (const { image } of plan({ containers: [container(long)] }).images)
      expect(image.length).toBeLessThanOrEqual(512);
  });
});

describe('the rest of a plan', () => {
  it('is derived once for each state of a workload, where it is kept', () => {
    const workload = workloadOf('Deployment', deployment({ containers: [container('app:1')] }));
    expect(planOfKept(workload)).toEqual(planOf(workload));
    expect(planOfKept(workload)).toBe(planOfKept(workload));
    const next = { ...workload, template: { ...workload.template, spec: {} } };
    expect(planOfKept(next).images).toEqual([]);
  });

  it('says how images are pulled and where, and nothing that is not asked for', () => {
    const nodeAffinity = {
      nodeSelectorTerms: [{ matchExpressions: [{ key: 'gpu', operator: 'Exists' }] }],
    };
    expect(
      plan({
        nodeName: 'n1',
        nodeSelector: { disk: 'ssd' },
        affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: nodeAffinity } },
        tolerations: [{ key: 'spot', operator: 'Exists' }],
        os: { name: 'linux' },
        imagePullSecrets: [{ name: 'b' }, {}, { name: 'a' }],
        serviceAccountName: 'web',
        runtimeClassName: 'kata',
      }),
    ).toMatchObject({
      pull: { imagePullSecrets: ['b', 'a'], serviceAccountName: 'web', runtimeClassName: 'kata' },
      requirements: {
        nodeName: 'n1',
        nodeSelector: { disk: 'ssd' },
        nodeAffinity,
        tolerations: [{ key: 'spot', operator: 'Exists' }],
        os: 'linux',
      },
    });
    expect(plan({})).toMatchObject({ pull: { imagePullSecrets: [] }, requirements: {} });
    expect(Object.keys(plan({}).pull)).toEqual(['imagePullSecrets']);
    expect(Object.keys(plan({}).requirements)).toEqual([]);
  });

  it.each<{ what: string; spec: PodSpec; annotations: Record<string, string>; changed: boolean }>([
    { what: 'its name and its replicas', spec: {}, annotations: {}, changed: false },
    { what: 'its priority', spec: {}, annotations: { 'ips/priority': '9' }, changed: false },
    { what: 'its number of nodes', spec: {}, annotations: { 'ips/max-nodes': '2' }, changed: true },
    { what: 'an image', spec: { containers: [container('app:2')] }, annotations: {}, changed: true },
    { what: 'its runtime class', spec: { runtimeClassName: 'kata' }, annotations: {}, changed: true },
  ])('has a fingerprint that changes with $what: $changed', ({ spec, annotations, changed }) => {
    const one = plan({ containers: [container('app:1')] });
    const object = deployment({ containers: [container('app:1')], ...spec });
    const metadata = {
      ...object.metadata,
      name: 'other',
      uid: 'u2',
      annotations: { ...OPTED_IN, ...annotations },
    };
    const other = planOf(workloadOf('Deployment', { ...object, metadata }));
    expect(other.fingerprint !== one.fingerprint).toBe(changed);
  });

  it('prefers nodes only under a limit: without one, workloads that differ in that alone share a task', () => {
    const matchExpressions = [{ key: 'disk', operator: 'In', values: ['ssd'] }];
    const terms = [{ weight: 1, preference: { matchExpressions } }];
    const spec: PodSpec = {
      affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: terms } },
      topologySpreadConstraints: [
        {
          ...{ topologyKey: 'zone', maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' },
          labelSelector: { matchLabels: { app: 'web' } },
        },
      ],
    };
    const of = (podSpec: PodSpec, annotations: Record<string, string>) => {
      const object = deployment(podSpec);
      const template = { metadata: { labels: { app: 'web' } }, spec: podSpec };
      const metadata = { ...object.metadata, annotations: { ...OPTED_IN, ...annotations } };
      return planOf(workloadOf('Deployment', { ...object, metadata, spec: { template } } as Deployment));
    };
    const limit = { 'ips/max-nodes': '1' };
    expect(of(spec, limit).preferences).toEqual({
      nodeAffinity: terms,
      topologySpreadConstraints: [{ topologyKey: 'zone', maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' }],
    });
    expect(of(spec, limit).fingerprint).not.toBe(of({}, limit).fingerprint);
    expect(of(spec, {})).not.toHaveProperty('preferences');
    expect(of(spec, {}).fingerprint).toBe(of({}, {}).fingerprint);
  });

  it('counts a bare pod by its own labels where constraints spread it', () => {
    const zone = { topologyKey: 'zone', maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' };
    const spread = { ...zone, labelSelector: { matchLabels: { app: 'web' } } };
    const of = (app: string) => {
      const metadata = { labels: { app }, annotations: { ...OPTED_IN, 'ips/max-nodes': '1' } };
      const pod: Pod = { metadata, spec: { topologySpreadConstraints: [spread] } };
      return planOf(workloadOf('Pod', pod)).preferences;
    };
    expect(of('web')).toEqual({ topologySpreadConstraints: [zone] });
    expect(of('db')).toEqual({ topologySpreadConstraints: [] });
  });

  it('has a fingerprint of its own in each namespace', () => {
    const inNamespace = (namespace: string) =>
      planOf(workloadOf('Deployment', deployment({}, { namespace }))).fingerprint;
    expect(inNamespace('shop')).not.toBe(inNamespace('shop2'));
    expect(inNamespace('shop')).toBe(inNamespace('shop'));
  });

  it.each<{ policy: string; changed: boolean }>([
    { policy: 'IfNotPresent', changed: false },
    { policy: 'Always', changed: true },
  ])(
    'has a fingerprint that `rollout restart` changes with pull policy $policy: $changed',
    ({ policy, changed }) => {
      const restarted = (at: string) => {
        const object = deployment({ containers: [container('app:1', policy), container('base:1')] });
        const template = { ...object.spec?.template, metadata: { annotations: { restartedAt: at } } };
        const deployed: Deployment = { ...object, spec: { template } };
        return planOf(workloadOf('Deployment', deployed)).fingerprint;
      };
      expect(restarted('monday') !== restarted('tuesday')).toBe(changed);
      expect(restarted('monday')).toBe(restarted('monday'));
    },
  );

  it('is made without fail, whatever the annotations and the images say', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9:/@,. _-]{0,60}$/));
    const names = fc.constantFrom(
      'ips/exclude-containers',
      'ips/extra-images',
      'ips/notify',
      'ips/max-nodes',
      'ips/__proto__',
    );
    const spec = fc.record({
      containers: fc.array(fc.record({ name: text, image: text, imagePullPolicy: text })),
    });
    fc.assert(
      fc.property(fc.dictionary(names, text), spec, (annotations, podSpec) => {
        const { fingerprint, images } = plan(podSpec, annotations);
        expect(fingerprint).toMatch(/^[0-9a-f]{32}$/);
        expect(new Set(images.map(({ image }) => image)).size).toBe(images.length);
      }),
    );
  });
});
