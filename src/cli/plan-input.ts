import type { KubernetesNode, KubernetesObject, RuntimeClass } from '../domain/kubernetes.ts';
import { trimRuntimeClass } from '../domain/runtime-class.ts';
import { trimNode } from '../domain/trim-node.ts';
import { type Workload, workloadOf } from '../domain/workload.ts';
import { templateAt, typeOf, type WorkloadType, type WorkloadTypes } from '../domain/workload-types.ts';
import { METADATA, NODE, POD_SPEC, RUNTIME_CLASS, TEMPLATE } from './plan-shapes.ts';
import { type Misfit, type Shape, settle } from './shape.ts';

/** What users give to a plan, as what IPS keeps of a cluster's objects. */

export type Read<T> = { ok: true; value: T } | { ok: false; misfit: Misfit };

export type Raw = Record<string, unknown>;

export function isObject(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The type of workload that an object is; without an apiVersion the first of its kind is meant. */
export function workloadTypeOf(types: WorkloadTypes, object: Raw): WorkloadType | undefined {
  const { apiVersion, kind } = object;
  if (apiVersion === undefined) return [...types.values()].find((type) => type.kind === kind);
  const type = typeOf(types, apiVersion, kind);
  return type?.apiVersion === apiVersion ? type : undefined;
}

/** The kinds, for a sentence. */
export function workloadKinds(types: WorkloadTypes): string {
  return [...types.values()].map(({ kind }) => kind).join(', ');
}

/** Whether an object that is no workload to IPS could be one, if the operator named its type. */
export function hasTemplate(object: Raw): boolean {
  return isObject(templateAt(object as KubernetesObject, ['spec', 'template'])?.['spec']);
}

/** A custom resource may hold anything where its template is looked for; IPS reads of it what can be read. */
function shapeOf({ templatePath, custom }: WorkloadType): Shape {
  if (custom) return { fields: { metadata: METADATA } };
  if (templatePath.length === 0) return { fields: { metadata: METADATA, spec: POD_SPEC } };
  const [first = '', ...rest] = templatePath;
  const below = rest.reduceRight<Shape>((shape, field) => ({ fields: { [field]: shape } }), TEMPLATE);
  return { fields: { metadata: METADATA, [first]: below } };
}

/** A custom resource may have none, such as a Rollout with a `workloadRef`. */
function lacksPodSpec(object: Raw, { templatePath, custom }: WorkloadType): Misfit | undefined {
  const path = [...templatePath, 'spec'];
  if (custom || templateAt(object as KubernetesObject, path)) return undefined;
  return { path, problem: 'is missing' };
}

export function readWorkload(
  types: WorkloadTypes,
  type: WorkloadType,
  object: Raw,
  namespace: string,
): Read<Workload> {
  const misfit = settle(object, shapeOf(type)) ?? lacksPodSpec(object, type);
  if (misfit) return { ok: false, misfit };
  const given = (object['metadata'] ?? {}) as KubernetesObject['metadata'];
  const generated = given.generateName ? { name: `${given.generateName}…` } : {};
  const whole = { ...object, metadata: { namespace, ...generated, ...given } } as KubernetesObject;
  return {
    ok: true,
    value: workloadOf(types, type, type.templatePath.length === 0 ? applied(whole) : whole),
  };
}

/** As the pod that has it. */
export function readPodSpec(types: WorkloadTypes, spec: unknown): Read<Workload> {
  const misfit = settle(spec, POD_SPEC);
  if (misfit) return { ok: false, misfit };
  const pod = { apiVersion: 'v1', kind: 'Pod', spec };
  const type = workloadTypeOf(types, pod);
  if (!type) throw new Error('pods are workloads');
  return readWorkload(types, type, pod, '');
}

export function readNode(object: unknown): Read<KubernetesNode> {
  const misfit = settle(object, NODE);
  if (misfit) return { ok: false, misfit };
  const node = trimNode(object as KubernetesObject);
  // One node was never another under its name here, and who writes nodes by hand copies them with their uid.
  delete node.metadata.uid;
  return { ok: true, value: assumed(node) };
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
