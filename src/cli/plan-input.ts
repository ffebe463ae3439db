import type { KubernetesNode, KubernetesObject, Pod, PodSpec, RuntimeClass } from '../domain/kubernetes.ts';
import { trimNode } from '../domain/node-view.ts';
import { trimRuntimeClass } from '../domain/runtime-class.ts';
import {
  isWorkloadKind,
  WORKLOAD_API_VERSIONS,
  type Workload,
  type WorkloadKind,
  workloadOf,
} from '../domain/workload.ts';
import { METADATA, NODE, POD_SPEC, RUNTIME_CLASS, TEMPLATE } from './plan-shapes.ts';
import { type Misfit, type Shape, settle } from './shape.ts';

/** What users give to a plan, as what IPS keeps of a cluster's objects. */

export type Read<T> = { ok: true; value: T } | { ok: false; misfit: Misfit };

export type Raw = Record<string, unknown>;

export function isObject(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The kind of workload that an object is; without an apiVersion the kind's own is meant. */
export function workloadKindOf(object: Raw): WorkloadKind | undefined {
  const { apiVersion, kind } = object;
  if (!isWorkloadKind(kind)) return undefined;
  return apiVersion === undefined || apiVersion === WORKLOAD_API_VERSIONS[kind] ? kind : undefined;
}

const SHAPES: Record<WorkloadKind, Shape> = {
  Deployment: { fields: { metadata: METADATA, spec: { fields: { template: TEMPLATE } } } },
  Pod: { fields: { metadata: METADATA, spec: POD_SPEC } },
};

export function readWorkload(kind: WorkloadKind, object: Raw, namespace: string): Read<Workload> {
  const misfit = settle(object, SHAPES[kind]);
  if (misfit) return { ok: false, misfit };
  const given = (object['metadata'] ?? {}) as KubernetesObject['metadata'];
  const generated = given.generateName ? { name: `${given.generateName}…` } : {};
  const whole = { ...object, metadata: { namespace, ...generated, ...given } } as KubernetesObject;
  return { ok: true, value: workloadOf(kind, kind === 'Pod' ? applied(whole) : whole) };
}

export function readPodSpec(spec: unknown): Read<Workload> {
  const misfit = settle(spec, POD_SPEC);
  if (misfit) return { ok: false, misfit };
  const pod: Pod = { metadata: {}, spec: spec as PodSpec };
  return { ok: true, value: workloadOf('Pod', applied(pod)) };
}

export function readNode(object: unknown): Read<KubernetesNode> {
  const misfit = settle(object, NODE);
  return misfit ? { ok: false, misfit } : { ok: true, value: assumed(trimNode(object as KubernetesObject)) };
}

export function readRuntimeClass(object: unknown): Read<RuntimeClass> {
  const misfit = settle(object, RUNTIME_CLASS);
  return misfit ? { ok: false, misfit } : { ok: true, value: trimRuntimeClass(object as KubernetesObject) };
}

/** Who writes a node into a manifest owns the field, once it is applied; on one from a cluster it may be the scheduler's. */
function applied(pod: KubernetesObject): KubernetesObject {
  if (pod.metadata.uid || pod.metadata.managedFields) return pod;
  const managedFields = [{ fieldsV1: { 'f:spec': { 'f:nodeName': {} } } }];
  return { ...pod, metadata: { ...pod.metadata, managedFields } };
}

const NEW_ENOUGH = { kubeletVersion: 'v1.35.0', containerRuntimeVersion: 'containerd://2.1.0' };
const assumedNodes = new WeakSet<KubernetesNode>();

/** A node that does not say what it runs is no worse than others: its kubelet and runtime are taken for new ones. */
function assumed(node: KubernetesNode): KubernetesNode {
  const { kubeletVersion, containerRuntimeVersion, ...rest } = node.status?.nodeInfo ?? {};
  if (kubeletVersion && containerRuntimeVersion) return node;
  const nodeInfo = {
    ...rest,
    operatingSystem: rest.operatingSystem || (node.metadata.labels?.['kubernetes.io/os'] ?? ''),
    kubeletVersion: kubeletVersion || NEW_ENOUGH.kubeletVersion,
    containerRuntimeVersion: containerRuntimeVersion || NEW_ENOUGH.containerRuntimeVersion,
  };
  const known: KubernetesNode = { ...node, status: { ...node.status, nodeInfo } };
  assumedNodes.add(known);
  return known;
}

/** Whether the node did not say itself how it can be made to pull. */
export function isAssumed(node: KubernetesNode): boolean {
  return assumedNodes.has(node);
}
