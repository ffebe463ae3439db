import { connect } from 'node:http2';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Answer, check, createSubject, type Subject } from '../../test/fuzz/checks.ts';
import { ODD_VALUES } from '../../test/fuzz/json-text.ts';
import { type Case, cases } from '../../test/fuzz/reviews.ts';

/** A Deployment as the API server sends it: with its defaults, and who wrote which fields. */
const REAL = {
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: {
    uid: '705ab4f5-6393-11e8-b7cc-42010a800002',
    kind: { group: 'apps', version: 'v1', kind: 'Deployment' },
    resource: { group: 'apps', version: 'v1', resource: 'deployments' },
    name: 'web',
    namespace: 'shop',
    operation: 'UPDATE',
    userInfo: { username: 'admin', groups: ['system:masters', 'system:authenticated'] },
    object: {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: {
        name: 'web',
        namespace: 'shop',
        uid: '0b3cbee1-8d5a-4b6c-9d21-2f4a4a1f6a52',
        generation: 2,
        creationTimestamp: '2026-01-01T00:00:00Z',
        labels: { app: 'web', 'ips/prewarm': 'true' },
        annotations: {
          'deployment.kubernetes.io/revision': '1',
          'ips/prewarm': 'true',
          'ips/status': 'Warm 2/2 nodes',
          'ips/exclude-containers': 'proxy',
        },
        managedFields: [
          {
            manager: 'kubectl',
            operation: 'Apply',
            apiVersion: 'apps/v1',
            fieldsType: 'FieldsV1',
            fieldsV1: { 'f:metadata': { 'f:labels': { 'f:app': {} } }, 'f:spec': { 'f:replicas': {} } },
          },
        ],
      },
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { creationTimestamp: null, labels: { app: 'web' } },
          spec: {
            containers: [
              { name: 'main', image: 'nginx:1.27', imagePullPolicy: 'IfNotPresent', resources: {} },
              { name: 'proxy', image: 'registry.example:5000/team/proxy', imagePullPolicy: 'Always' },
            ],
            initContainers: [{ name: 'side', image: 'side:1', restartPolicy: 'Always' }],
            volumes: [{ name: 'model', image: { reference: 'model:3', pullPolicy: 'IfNotPresent' } }],
            restartPolicy: 'Always',
            serviceAccountName: 'web',
            serviceAccount: 'web',
            nodeSelector: { disk: 'ssd' },
            tolerations: [{ key: 'spot', operator: 'Exists', effect: 'NoSchedule' }],
            affinity: {
              nodeAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: {
                  nodeSelectorTerms: [
                    { matchExpressions: [{ key: 'zone', operator: 'In', values: ['a', 'b'] }] },
                  ],
                },
              },
            },
          },
        },
      },
    },
  },
};

const WARMER = {
  request: {
    uid: 'u1',
    kind: { group: '', version: 'v1', kind: 'Pod' },
    namespace: 'shop',
    object: {
      metadata: {
        labels: { 'ips/warmer': 'true', 'batch.kubernetes.io/job-completion-index': '1' },
        annotations: { 'ips/nodes': 'node-a,node-b', other: 'stays' },
      },
      spec: { containers: [{ name: 'worker', image: 'pause:3' }] },
    },
  },
};

type Change = { at: number; into: string };

/** The text of a value in which some of its parts have become something else; `undefined` takes them out. */
function changed(real: unknown, changes: Change[]): string {
  const root = { real: structuredClone(real) };
  const places: { holder: Record<string, unknown>; key: string }[] = [];
  const visit = (holder: Record<string, unknown>): void => {
    for (const key of Object.keys(holder)) {
      places.push({ holder, key });
      const value = holder[key];
      if (typeof value === 'object' && value !== null) visit(value as Record<string, unknown>);
    }
  };
  visit(root);
  for (const [index, { at }] of changes.entries()) {
    const place = places[at % places.length];
    if (place) place.holder[place.key] = `@@${index}@@`;
  }
  return changes.reduce(
    (text, { into }, index) => text.replace(`"@@${index}@@"`, () => into),
    JSON.stringify(root.real) ?? '',
  );
}

const change = fc.record({ at: fc.nat(), into: fc.constantFrom(...ODD_VALUES, '"x"', '""', '"true"') });
const real: fc.Arbitrary<Case> = fc
  .tuple(fc.boolean(), fc.array(change, { maxLength: 4 }))
  .map(([warmer, changes]) =>
    warmer
      ? { path: '/pin', body: changed(WARMER, changes) }
      : { path: '/mutate', body: changed(REAL, changes) },
  );

async function subject(): Promise<Subject> {
  const made = await createSubject();
  onTestFinished(() => made.close());
  return made;
}

/** Over a socket, as the API server asks; all on one connection. */
async function overHttp2(of: Subject): Promise<Subject['ask']> {
  const session = connect(`https://127.0.0.1:${await of.port()}`, { rejectUnauthorized: false });
  onTestFinished(() => session.destroy());
  return ({ path, body }) =>
    new Promise<Answer>((resolve, reject) => {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/json',
      });
      let status = 0;
      let text = '';
      stream.setEncoding('utf8');
      stream.on('response', (headers) => {
        status = headers[':status'] ?? 0;
      });
      stream.on('data', (part: string) => {
        text += part;
      });
      stream.on('end', () => resolve({ status, body: text }));
      stream.on('error', reject);
      stream.end(body);
    });
}

describe('every answer of admission', () => {
  it('is as it should be, whatever becomes of the parts of a real review', async () => {
    const { ask } = await subject();
    await fc.assert(
      fc.asyncProperty(real, (request) => check(request, ask)),
      { numRuns: 1000 },
    );
  });

  it('is as it should be, whatever a grammar of reviews comes to', async () => {
    const { ask } = await subject();
    await fc.assert(
      fc.asyncProperty(cases, (request) => check(request, ask)),
      { numRuns: 300 },
    );
  });

  it('is the same over HTTP/2', async () => {
    const asked = await subject();
    const ask = await overHttp2(asked);
    const both: Subject['ask'] = async (request) => {
      const answer = await ask(request);
      expect(answer).toEqual(await asked.ask(request));
      return answer;
    };
    await fc.assert(
      fc.asyncProperty(fc.oneof(real, cases), (request) => check(request, both)),
      { numRuns: 200 },
    );
  });
});
