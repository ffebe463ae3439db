import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { COMPLETION_INDEX } from '../../src/domain/pinning.ts';
import type { KubeClient } from '../../src/kube/client.ts';

/**
 * How one pins the pods of an Indexed Job to nodes without IPS: by a policy of the API server itself. IPS's webhook would
 * do it for pods that carry IPS's labels, but those IPS keeps in memory as its own.
 */
export const BY_HAND = 'by-hand/pinned';
/** Names, separated by commas; index i goes to the i-th. */
export const NODES_BY_HAND = 'by-hand/nodes';

const API = 'admissionregistration.k8s.io/v1';
const NAME = 'pin-by-hand';
const NODE = `object.metadata.annotations["${NODES_BY_HAND}"].split(",")[int(object.metadata.labels["${COMPLETION_INDEX}"])]`;

/** In force a moment later. */
export async function pinByHand(client: KubeClient): Promise<void> {
  const policy = {
    ...{ apiVersion: API, kind: 'MutatingAdmissionPolicy', metadata: { name: NAME } },
    spec: {
      ...{ failurePolicy: 'Fail', reinvocationPolicy: 'Never' },
      matchConstraints: {
        objectSelector: { matchExpressions: [{ key: BY_HAND, operator: 'Exists' }] },
        resourceRules: [
          { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] },
        ],
      },
      mutations: [
        {
          patchType: 'JSONPatch',
          jsonPatch: {
            expression: `[
              JSONPatch{op: "add", path: "/spec/nodeName", value: ${NODE}},
              JSONPatch{op: "remove", path: "/metadata/annotations/${NODES_BY_HAND.replace('/', '~1')}"}
            ]`,
          },
        },
      ],
    },
  };
  const binding = {
    ...{ apiVersion: API, kind: 'MutatingAdmissionPolicyBinding', metadata: { name: NAME } },
    spec: { policyName: NAME },
  };
  const create = (plural: string, object: KubernetesObject) =>
    client.create<KubernetesObject>({ apiVersion: API, plural }, undefined, object);
  await create('mutatingadmissionpolicies', policy);
  await create('mutatingadmissionpolicybindings', binding);
}
