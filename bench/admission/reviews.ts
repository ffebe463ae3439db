/** The reviews that every server is asked: what an API server sends when somebody applies a Deployment. */

export type Review = { name: string; about: string; body: string };

const ANNOTATIONS = {
  'ips/prewarm': 'true',
  'ips/priority': '8',
  'ips/max-nodes': '50%',
  'ips/exclude-containers': 'debug',
  'ips/extra-images': 'busybox:1.36, quay.io/tools/curl:8.9',
  // Wrong, so that there is a warning to give.
  'ips/timeout': '5 minutes',
};

export const REVIEWS: Review[] = [
  review('8 kB', 'a Deployment opted in', { containers: 2, environment: 4, annotations: ANNOTATIONS }),
  review('200 kB', 'a Deployment opted in', { containers: 20, environment: 50, annotations: ANNOTATIONS }),
  review('8 kB, not opted in', 'a Deployment that wants nothing', {
    ...{ containers: 2, environment: 5, annotations: {} },
  }),
];

type Shape = { containers: number; environment: number; annotations: Record<string, string> };

function review(name: string, what: string, shape: Shape): Review {
  const object = deployment(shape);
  const body = JSON.stringify({
    kind: 'AdmissionReview',
    apiVersion: 'admission.k8s.io/v1',
    request: {
      uid: 'f0b7a1de-3c5e-4b8e-9a4e-1f4f6b0c2d11',
      kind: { group: 'apps', version: 'v1', kind: 'Deployment' },
      resource: { group: 'apps', version: 'v1', resource: 'deployments' },
      requestKind: { group: 'apps', version: 'v1', kind: 'Deployment' },
      requestResource: { group: 'apps', version: 'v1', resource: 'deployments' },
      name: object.metadata.name,
      namespace: object.metadata.namespace,
      operation: 'CREATE',
      userInfo: { username: 'system:serviceaccount:ci:deployer', groups: ['system:authenticated'] },
      object,
      oldObject: null,
      dryRun: false,
      options: {
        kind: 'CreateOptions',
        apiVersion: 'meta.k8s.io/v1',
        fieldManager: 'kubectl-client-side-apply',
      },
    },
  });
  return { name, about: `${what}, ${body.length.toLocaleString('en')} bytes`, body };
}

function deployment({ containers, environment, annotations }: Shape) {
  const labels = { app: 'checkout', 'app.kubernetes.io/part-of': 'shop', team: 'payments' };
  const spec = {
    replicas: 6,
    selector: { matchLabels: { app: 'checkout' } },
    template: {
      metadata: { labels },
      spec: {
        initContainers: [container('migrate', 2)],
        containers: Array.from({ length: containers }, (_, index) => container(`part-${index}`, environment)),
        volumes: [
          { name: 'cache', emptyDir: { sizeLimit: '1Gi' } },
          { name: 'models', image: { reference: 'ghcr.io/shop/models:2026-11', pullPolicy: 'IfNotPresent' } },
        ],
        imagePullSecrets: [{ name: 'registry' }],
        serviceAccountName: 'checkout',
        nodeSelector: { 'kubernetes.io/os': 'linux', pool: 'web' },
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [
                {
                  matchExpressions: [
                    { key: 'topology.kubernetes.io/zone', operator: 'In', values: ['a', 'b'] },
                  ],
                },
              ],
            },
          },
        },
        tolerations: [{ key: 'dedicated', operator: 'Equal', value: 'web', effect: 'NoSchedule' }],
        restartPolicy: 'Always',
        terminationGracePeriodSeconds: 30,
        dnsPolicy: 'ClusterFirst',
        securityContext: { runAsNonRoot: true },
        schedulerName: 'default-scheduler',
      },
    },
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' } },
    revisionHistoryLimit: 10,
    progressDeadlineSeconds: 600,
  };
  const metadata = {
    name: 'checkout',
    namespace: 'shop',
    uid: '0d4f6a0e-8f2c-4a55-b0a5-6b1b6c1c7e10',
    generation: 1,
    creationTimestamp: '2026-11-21T10:00:00Z',
    labels,
    annotations,
    managedFields: [
      {
        manager: 'kubectl-client-side-apply',
        operation: 'Update',
        apiVersion: 'apps/v1',
        time: '2026-11-21T10:00:00Z',
        fieldsType: 'FieldsV1',
        fieldsV1: fieldsOf({ metadata: { labels, annotations }, spec }),
      },
    ],
  };
  return { kind: 'Deployment', apiVersion: 'apps/v1', metadata, spec, status: {} };
}

function container(name: string, environment: number) {
  return {
    name,
    image: `registry.shop.example:5000/checkout/${name}:4.17.${name.length}`,
    args: ['--listen=:8080', `--name=${name}`, '--log-format=json'],
    ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
    env: Array.from({ length: environment }, (_, index) => ({
      name: `CHECKOUT_${name.toUpperCase().replace('-', '_')}_SETTING_${index}`,
      value: `value of setting ${index} that "${name}" reads at start`,
    })),
    resources: { limits: { memory: '512Mi' }, requests: { cpu: '250m', memory: '256Mi' } },
    livenessProbe: { httpGet: { path: '/healthz', port: 'http', scheme: 'HTTP' }, periodSeconds: 10 },
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: 'IfNotPresent',
    securityContext: { allowPrivilegeEscalation: false },
  };
}

/** As the API server notes who set which field. */
function fieldsOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return {};
  const entries = Array.isArray(value)
    ? value.map((each, index): [string, unknown] => [keyOf(each, index), fieldsOf(each)])
    : Object.entries(value).map(([name, each]): [string, unknown] => [`f:${name}`, fieldsOf(each)]);
  return Object.fromEntries(entries);
}

function keyOf(item: unknown, index: number): string {
  const name = (item as { name?: string }).name;
  return name ? `k:${JSON.stringify({ name })}` : `v:${index}`;
}
