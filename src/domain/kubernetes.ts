/**
 * The fields of Kubernetes objects that IPS reads, as they stand in JSON. Everything is optional that the API
 * may leave out; nothing else is declared, so that a field that is not here is a field that is not used.
 */

export type OwnerReference = {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
};

export type ObjectMeta = {
  name?: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  managedFields?: ManagedFieldsEntry[];
};

export type ManagedFieldsEntry = { subresource?: string; fieldsV1?: Record<string, unknown> };

export type KubernetesObject = { apiVersion?: string; kind?: string; metadata: ObjectMeta };

export type Taint = { key: string; value?: string; effect: string };

export type Toleration = {
  key?: string;
  operator?: string;
  value?: string;
  effect?: string;
  tolerationSeconds?: number;
};

export type NodeSelectorRequirement = { key: string; operator: string; values?: string[] };

export type NodeSelectorTerm = {
  matchExpressions?: NodeSelectorRequirement[];
  matchFields?: NodeSelectorRequirement[];
};

export type NodeSelector = { nodeSelectorTerms: NodeSelectorTerm[] };

export type PreferredSchedulingTerm = { weight: number; preference: NodeSelectorTerm };

export type NodeAffinity = {
  requiredDuringSchedulingIgnoredDuringExecution?: NodeSelector;
  preferredDuringSchedulingIgnoredDuringExecution?: PreferredSchedulingTerm[];
};

export type LabelSelector = {
  matchLabels?: Record<string, string>;
  matchExpressions?: NodeSelectorRequirement[];
};

export type TopologySpreadConstraint = {
  maxSkew: number;
  topologyKey: string;
  whenUnsatisfiable: string;
  labelSelector?: LabelSelector;
  minDomains?: number;
  nodeAffinityPolicy?: string;
  nodeTaintsPolicy?: string;
  matchLabelKeys?: string[];
};

export type LocalObjectReference = { name?: string };

export type Container = { name: string; image?: string; imagePullPolicy?: string };

export type Volume = { name: string; image?: { reference?: string; pullPolicy?: string } };

export type PodSpec = {
  nodeName?: string;
  nodeSelector?: Record<string, string>;
  affinity?: { nodeAffinity?: NodeAffinity };
  tolerations?: Toleration[];
  containers?: Container[];
  initContainers?: Container[];
  volumes?: Volume[];
  imagePullSecrets?: LocalObjectReference[];
  serviceAccountName?: string;
  runtimeClassName?: string;
  os?: { name?: string };
  hostNetwork?: boolean;
  topologySpreadConstraints?: TopologySpreadConstraint[];
};

export type PodTemplate = { metadata?: ObjectMeta; spec?: PodSpec };

export type NodeCondition = { type: string; status: string; lastHeartbeatTime?: string };

export type ContainerImage = { names?: string[]; sizeBytes?: number };

export type KubernetesNode = KubernetesObject & {
  spec?: { unschedulable?: boolean; taints?: Taint[] };
  status?: {
    conditions?: NodeCondition[];
    images?: ContainerImage[];
    capacity?: Record<string, string>;
    allocatable?: Record<string, string>;
    runtimeHandlers?: { name?: string }[];
    nodeInfo?: NodeInfo;
  };
};

export type NodeInfo = {
  kubeletVersion?: string;
  containerRuntimeVersion?: string;
  operatingSystem?: string;
  architecture?: string;
};

export type RuntimeClass = KubernetesObject & {
  handler?: string;
  scheduling?: { nodeSelector?: Record<string, string>; tolerations?: Toleration[] };
  /** What the runtime itself takes of a node for each pod, as quantities. */
  overhead?: { podFixed?: Record<string, string> };
};

export type ContainerState = {
  waiting?: { reason?: string; message?: string };
  running?: { startedAt?: string };
  terminated?: { exitCode: number; reason?: string; message?: string };
};

/** `image` as the pod's spec names it, until the runtime knows better. */
export type ContainerStatus = { name: string; image?: string; state?: ContainerState };

export type Pod = KubernetesObject & {
  spec?: PodSpec;
  status?: {
    phase?: string;
    reason?: string;
    message?: string;
    initContainerStatuses?: ContainerStatus[];
    containerStatuses?: ContainerStatus[];
  };
};

export type Job = KubernetesObject & {
  spec?: { completions?: number; parallelism?: number };
  status?: {
    active?: number;
    succeeded?: number;
    failed?: number;
    completedIndexes?: string;
    failedIndexes?: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
  };
};

export type Event = KubernetesObject & {
  involvedObject?: {
    apiVersion?: string;
    kind?: string;
    name?: string;
    namespace?: string;
    uid?: string;
    fieldPath?: string;
  };
  reason?: string;
  message?: string;
  type?: string;
  count?: number;
  lastTimestamp?: string;
};

export type Lease = KubernetesObject & {
  spec?: {
    holderIdentity?: string | null;
    leaseDurationSeconds?: number;
    acquireTime?: string | null;
    renewTime?: string | null;
    leaseTransitions?: number;
  };
};
