import { describe, expect, it } from 'vitest';
import type { KubernetesObject, Pod } from './kubernetes.ts';
import { pinWarmer } from './pinning.ts';
import type { OpenBatch, PrewarmTask, PrewarmTaskSpec } from './prewarm-task.ts';
import { jobName, type WarmerOptions, warmerJob } from './warmer-job.ts';

const BATCH: OpenBatch = {
  jobName: 'ips-0123',
  round: 2,
  batch: 3,
  attempt: 1,
  nodes: ['node-a', 'node-b'],
  keys: '',
  images: [0, 2],
  startedAt: '2026-01-01T00:00:00.000Z',
};

const OPTIONS: WarmerOptions = {
  workerImage: 'registry.k8s.io/pause:3.10',
  workerImageLegacy: 'registry.example/noop:1',
  priorityClassName: 'ips-warmer',
};
const NOOP_BATCH: OpenBatch = { ...BATCH, strategy: 'injected-noop' };

function task(spec: Partial<PrewarmTaskSpec> = {}): PrewarmTask {
  return {
    metadata: { name: 'ips-task', namespace: 'shop', uid: 'task-uid' },
    spec: {
      images: [
        { image: 'docker.io/library/app:1', pullPolicy: 'IfNotPresent' },
        { image: 'docker.io/library/left-out:1', pullPolicy: 'IfNotPresent' },
        { image: 'docker.io/library/base:2', pullPolicy: 'Always' },
      ],
      ...spec,
    },
  };
}

type MadeJob = KubernetesObject & {
  spec: { template: { spec: Record<string, unknown>; metadata: Pod['metadata'] } } & Record<string, unknown>;
};

function job(spec: Partial<PrewarmTaskSpec> = {}, options = OPTIONS, batch = BATCH): MadeJob {
  return warmerJob(task(spec), batch, options) as MadeJob;
}

describe('warmerJob', () => {
  it('is an Indexed Job of one pod a node, owned by its task, that retries nothing by itself', () => {
    expect(job()).toEqual({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: {
        name: 'ips-0123',
        namespace: 'shop',
        labels: { 'ips/warmer': 'true', 'ips/task': 'ips-task' },
        annotations: { 'ips/spec-hash': expect.stringMatching(/^[0-9a-f]{64}$/) },
        ownerReferences: [
          {
            apiVersion: 'ips.dev/v1alpha1',
            kind: 'PrewarmTask',
            name: 'ips-task',
            uid: 'task-uid',
            controller: true,
          },
        ],
      },
      spec: {
        completionMode: 'Indexed',
        completions: 2,
        parallelism: 2,
        backoffLimitPerIndex: 0,
        activeDeadlineSeconds: 1920,
        ttlSecondsAfterFinished: 3600,
        template: {
          metadata: {
            labels: { 'ips/warmer': 'true', 'ips/task': 'ips-task' },
            annotations: {
              'ips/nodes': 'node-a,node-b',
              'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true',
              'sidecar.istio.io/inject': 'false',
              'linkerd.io/inject': 'disabled',
            },
          },
          spec: expect.anything(),
        },
      },
    });
  });

  it('runs nothing but the worker image, within the restricted profile, without a token, and scheduled by nobody', () => {
    expect(job().spec.template.spec).toEqual({
      restartPolicy: 'Never',
      schedulerName: 'ips-pins-warmers',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 0,
      dnsPolicy: 'Default',
      priorityClassName: 'ips-warmer',
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 65_535,
        runAsGroup: 65_535,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      volumes: [
        { name: 'image-0', image: { reference: 'docker.io/library/app:1', pullPolicy: 'IfNotPresent' } },
        { name: 'image-1', image: { reference: 'docker.io/library/base:2', pullPolicy: 'Always' } },
      ],
      containers: [
        {
          name: 'warm',
          image: 'registry.k8s.io/pause:3.10',
          imagePullPolicy: 'IfNotPresent',
          args: ['-v'],
          resources: {
            requests: { cpu: '10m', memory: '16Mi' },
            limits: { cpu: '100m', memory: '64Mi' },
          },
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          volumeMounts: [
            { name: 'image-0', mountPath: '/images/0', readOnly: true },
            { name: 'image-1', mountPath: '/images/1', readOnly: true },
          ],
        },
      ],
    });
  });

  it('pulls as the workload pulls, and goes where it may go', () => {
    const tolerations = [{ key: 'spot', operator: 'Exists' }];
    const { spec } = job({
      imagePullSecrets: ['a', 'b'],
      serviceAccountName: 'web',
      runtimeClassName: 'kata',
      nodeRequirements: { tolerations, nodeSelector: { disk: 'ssd' }, nodeName: 'elsewhere' },
    }).spec.template;
    expect(spec).toMatchObject({
      imagePullSecrets: [{ name: 'a' }, { name: 'b' }],
      serviceAccountName: 'web',
      runtimeClassName: 'kata',
      tolerations,
    });
    expect(spec).not.toHaveProperty('nodeSelector');
    expect(spec).not.toHaveProperty('nodeName');
  });

  it.each(['imagePullSecrets', 'serviceAccountName', 'runtimeClassName', 'tolerations', 'priorityClassName'])(
    'says nothing of %s where there is nothing to say',
    (field) => {
      const { spec } = job(
        { imagePullSecrets: [], nodeRequirements: { tolerations: [] } },
        { ...OPTIONS, priorityClassName: '' },
      ).spec.template;
      expect(spec).not.toHaveProperty(field);
    },
  );

  describe('with the injected no-op', () => {
    const confined = {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    };
    const limits = { cpu: '100m', memory: '64Mi' };

    it('starts a copy of the no-op in each image, and nothing of the images', () => {
      const { volumes, initContainers, containers } = job({}, OPTIONS, NOOP_BATCH).spec.template.spec;
      expect({ volumes, initContainers, containers }).toEqual({
        volumes: [{ name: 'noop', emptyDir: { sizeLimit: '1Mi' } }],
        initContainers: [
          {
            name: 'noop',
            image: 'registry.example/noop:1',
            imagePullPolicy: 'IfNotPresent',
            args: ['/ips/noop'],
            terminationMessagePolicy: 'FallbackToLogsOnError',
            resources: { requests: { cpu: '10m', memory: '16Mi' }, limits },
            securityContext: confined,
            volumeMounts: [{ name: 'noop', mountPath: '/ips' }],
          },
        ],
        containers: [
          { name: 'wake', image: 'registry.example/noop:1', imagePullPolicy: 'IfNotPresent' },
          { name: 'image-0', image: 'docker.io/library/app:1', imagePullPolicy: 'IfNotPresent' },
          { name: 'image-1', image: 'docker.io/library/base:2', imagePullPolicy: 'Always' },
        ].map((container) => ({
          ...container,
          command: ['/ips/noop'],
          workingDir: '/',
          resources: { requests: { cpu: '2m', memory: '4Mi' }, limits },
          securityContext: confined,
          volumeMounts: [{ name: 'noop', mountPath: '/ips', readOnly: true }],
        })),
      });
    });

    it('is else as with image volumes', () => {
      const spec: Partial<PrewarmTaskSpec> = {
        imagePullSecrets: ['a'],
        serviceAccountName: 'web',
        runtimeClassName: 'kata',
        nodeRequirements: { tolerations: [{ key: 'spot', operator: 'Exists' }] },
      };
      const rest = (made: MadeJob) => {
        const { volumes: _, initContainers: __, containers: ___, ...others } = made.spec.template.spec;
        return { ...made.spec, template: { ...made.spec.template, spec: others } };
      };
      expect(rest(job(spec, OPTIONS, NOOP_BATCH))).toEqual(rest(job(spec)));
    });
  });

  it('mounts image volumes for a batch of an older release, which says nothing of how', () => {
    const { strategy: _, ...older } = NOOP_BATCH;
    expect(job({}, OPTIONS, older)).toEqual(job({}, OPTIONS, { ...BATCH, strategy: 'image-volume' }));
  });

  it('ends by itself two minutes after its time-out', () => {
    expect(job({ timeoutSeconds: 60 }).spec).toMatchObject({ activeDeadlineSeconds: 180 });
  });

  it('lists its nodes so that admission pins each pod to its own', () => {
    const { metadata } = job().spec.template;
    const nodesOf = BATCH.nodes.map((_, index) => {
      const labels = { ...metadata.labels, 'batch.kubernetes.io/job-completion-index': `${index}` };
      const pinning = pinWarmer({ metadata: { ...metadata, labels }, spec: {} });
      return pinning.ok && pinning.patch[0]?.op === 'add' ? pinning.patch[0].value : pinning;
    });
    expect(nodesOf).toEqual(['node-a', 'node-b']);
  });

  describe('has a spec hash', () => {
    const hash = (made: KubernetesObject) => made.metadata.annotations?.['ips/spec-hash'];

    it('that is the same for the same work', () => {
      expect(hash(job())).toBe(hash(job()));
    });

    it.each<{ what: string; other: MadeJob }>([
      { what: 'nodes', other: job({}, OPTIONS, { ...BATCH, nodes: ['node-b', 'node-a'] }) },
      { what: 'images', other: job({}, OPTIONS, { ...BATCH, images: [0] }) },
      { what: 'the worker image', other: job({}, { ...OPTIONS, workerImage: 'registry.k8s.io/pause:3.11' }) },
      { what: 'how it pulls', other: job({}, OPTIONS, NOOP_BATCH) },
      { what: 'secrets', other: job({ imagePullSecrets: ['a'] }) },
      { what: 'the time-out', other: job({ timeoutSeconds: 60 }) },
    ])('that differs with $what', ({ other }) => {
      expect(hash(other)).not.toBe(hash(job()));
    });
  });
});

describe('jobName', () => {
  it('is one for one piece of work, from release to release', () => {
    // printf '%s' task-uid/2/3/1 | sha256sum
    expect(jobName('task-uid', 2, 3, 1)).toBe('ips-2b412b326dfac494c8ec');
    expect(jobName('task-uid', 2, 3, 1)).toMatch(/^ips-[0-9a-f]{20}$/);
  });

  it.each<{ what: string; name: string }>([
    { what: 'task', name: jobName('task-uid2', 2, 3, 1) },
    { what: 'round', name: jobName('task-uid', 1, 3, 1) },
    { what: 'batch', name: jobName('task-uid', 2, 31, 1) },
    { what: 'attempt', name: jobName('task-uid', 2, 3, 0) },
  ])('is another for another $what', ({ name }) => {
    expect(name).not.toBe(jobName('task-uid', 2, 3, 1));
  });
});
