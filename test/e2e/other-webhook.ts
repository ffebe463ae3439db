import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createAuthority, issueServingCertificate } from '../../src/certs/authority.ts';
import type { JsonPatchOperation } from '../../src/domain/json-patch.ts';
import type { KubernetesObject, PodTemplate } from '../../src/domain/kubernetes.ts';
import { type Cluster, kubectl } from '../cluster/cluster.ts';

/** Another mutating webhook, as service meshes and policy engines have them, which changes what IPS has seen or will. */

export type Mutate = (object: KubernetesObject) => JsonPatchOperation[];
export type Workload = KubernetesObject & { spec?: { template?: PodTemplate } };

type Review = { request: { uid: string; object: KubernetesObject; userInfo: { groups: string[] } } };

export type OtherWebhook = {
  /** How often it was asked about what an administrator did, by path: not about what controllers and IPS write. */
  asked: Map<string, number>;
  remove(): Promise<void>;
};

/** `mutations` by path; webhook configurations are asked in the order of their names, and that of IPS is `ips`. */
export async function startOtherWebhook(
  cluster: Cluster,
  namespace: string,
  mutations: Record<string, { name: string; mutate: Mutate }>,
): Promise<OtherWebhook> {
  const { hostAddress } = cluster.sandbox;
  const now = new Date();
  const authority = await createAuthority({ commonName: 'Other CA', now, validityDays: 2 });
  const names = { dnsNames: [], ipAddresses: [hostAddress] };
  const { cert, key } = await issueServingCertificate({ authority, ...names, now, validityDays: 1 });
  const asked = new Map<string, number>();
  const server = createServer({ cert, key }, (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'https://other');
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (part: string) => {
      body += part;
    });
    request.on('end', () => {
      const review = JSON.parse(body) as Review;
      if (review.request.userInfo.groups.includes('system:masters')) {
        asked.set(pathname, (asked.get(pathname) ?? 0) + 1);
      }
      const patch = mutations[pathname]?.mutate(review.request.object) ?? [];
      const encoded = Buffer.from(JSON.stringify(patch)).toString('base64');
      const patched = patch.length > 0 ? { patchType: 'JSONPatch', patch: encoded } : {};
      const { uid } = review.request;
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({
          ...{ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' },
          response: { uid, allowed: true, ...patched },
        }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, hostAddress, resolve));
  const { port } = server.address() as AddressInfo;
  const configurations = Object.entries(mutations).map(([path, { name }]) => ({
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name },
    webhooks: [
      {
        name: 'other.example.com',
        ...{ failurePolicy: 'Fail', sideEffects: 'None', admissionReviewVersions: ['v1'] },
        reinvocationPolicy: 'IfNeeded',
        clientConfig: {
          url: `https://${hostAddress}:${port}${path}`,
          caBundle: Buffer.from(authority.cert).toString('base64'),
        },
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
        rules: [
          {
            apiGroups: ['apps'],
            apiVersions: ['v1'],
            resources: ['deployments'],
            operations: ['CREATE', 'UPDATE'],
          },
        ],
      },
    ],
  }));
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: configurations });
  await kubectl(cluster, ['apply', '-f', '-'], list);
  return {
    asked,
    async remove() {
      await kubectl(cluster, ['delete', '-f', '-'], list);
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}
