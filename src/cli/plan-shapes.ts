import type { Shape } from './shape.ts';

/** The fields that a plan reads, as Kubernetes' API has them. */

const STRINGS: Shape = { map: 'string' };
const NAMED: Shape = { list: { fields: { name: 'string' } } };

const REQUIREMENTS: Shape = {
  list: { fields: { key: 'string', operator: 'string', values: { list: 'string' } } },
};
const TERM: Shape = { fields: { matchExpressions: REQUIREMENTS, matchFields: REQUIREMENTS } };
const LABEL_SELECTOR: Shape = { fields: { matchLabels: STRINGS, matchExpressions: REQUIREMENTS } };

const TOLERATIONS: Shape = {
  list: {
    fields: {
      ...{ key: 'string', operator: 'string', value: 'string', effect: 'string' },
      tolerationSeconds: 'number',
    },
  },
};

const RESOURCES: Shape = {
  fields: { requests: { map: 'quantity' }, limits: { map: 'quantity' } },
};
const CONTAINERS: Shape = {
  list: {
    fields: { name: 'string', image: 'string', imagePullPolicy: 'string', resources: RESOURCES },
  },
};

export const METADATA: Shape = {
  fields: {
    ...{ name: 'string', generateName: 'string', namespace: 'string', uid: 'string' },
    ...{ deletionTimestamp: 'string', labels: STRINGS, annotations: STRINGS },
    ownerReferences: {
      list: {
        fields: {
          apiVersion: 'string',
          kind: 'string',
          name: 'string',
          uid: 'string',
          controller: 'boolean',
        },
      },
    },
  },
};

export const POD_SPEC: Shape = {
  fields: {
    ...{ nodeName: 'string', nodeSelector: STRINGS, tolerations: TOLERATIONS },
    ...{ serviceAccountName: 'string', runtimeClassName: 'string', imagePullSecrets: NAMED },
    ...{ containers: CONTAINERS, initContainers: CONTAINERS, os: { fields: { name: 'string' } } },
    volumes: {
      list: {
        fields: { name: 'string', image: { fields: { reference: 'string', pullPolicy: 'string' } } },
      },
    },
    affinity: {
      fields: {
        nodeAffinity: {
          fields: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              fields: { nodeSelectorTerms: { list: TERM } },
            },
            preferredDuringSchedulingIgnoredDuringExecution: {
              list: { fields: { weight: 'number', preference: TERM } },
            },
          },
        },
      },
    },
    topologySpreadConstraints: {
      list: {
        fields: {
          ...{ maxSkew: 'number', minDomains: 'number', topologyKey: 'string' },
          ...{ whenUnsatisfiable: 'string', nodeAffinityPolicy: 'string', nodeTaintsPolicy: 'string' },
          labelSelector: LABEL_SELECTOR,
        },
      },
    },
  },
};

export const TEMPLATE: Shape = { fields: { metadata: METADATA, spec: POD_SPEC } };

export const NODE: Shape = {
  fields: {
    metadata: {
      fields: { name: 'string', uid: 'string', deletionTimestamp: 'string', labels: STRINGS },
      required: ['name'],
    },
    spec: {
      fields: {
        unschedulable: 'boolean',
        taints: { list: { fields: { key: 'string', value: 'string', effect: 'string' } } },
      },
    },
    status: {
      fields: {
        conditions: {
          list: { fields: { type: 'string', status: 'string', lastHeartbeatTime: 'string' } },
        },
        images: { list: { fields: { names: { list: 'string' }, sizeBytes: 'number' } } },
        allocatable: { map: 'quantity' },
        capacity: { map: 'quantity' },
        runtimeHandlers: NAMED,
        nodeInfo: {
          fields: {
            ...{ kubeletVersion: 'string', containerRuntimeVersion: 'string' },
            ...{ operatingSystem: 'string', architecture: 'string' },
          },
        },
      },
    },
  },
  required: ['metadata'],
};

export const RUNTIME_CLASS: Shape = {
  fields: {
    metadata: { fields: { name: 'string' }, required: ['name'] },
    handler: 'string',
    scheduling: { fields: { nodeSelector: STRINGS, tolerations: TOLERATIONS } },
    overhead: { fields: { podFixed: { map: 'quantity' } } },
  },
  required: ['metadata'],
};
