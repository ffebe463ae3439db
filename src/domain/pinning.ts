import { NODES_ANNOTATION, WARMER_LABEL } from './annotations.ts';
import { type JsonPatchOperation, jsonPointer } from './json-patch.ts';
import type { KubernetesObject } from './kubernetes.ts';
import { quote } from './quote.ts';
import { readText, record } from './unchecked.ts';

/** Written by the Job controller on the pods of Indexed Jobs (a label since Kubernetes 1.28). */
export const COMPLETION_INDEX = 'batch.kubernetes.io/job-completion-index';

export type Pinning = { ok: true; patch: JsonPatchOperation[] } | { ok: false; reason: string };

/** apimachinery, `IsDNS1123Subdomain`: what the API server takes for the name of a node. */
const NODE_NAME = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/**
 * Pins a warmer to its node: completion index i goes to the i-th node of its annotation, which is then removed, so that
 * stored pods stay small. Called again on its own result it changes nothing. An unpinned warmer is never let through.
 */
export function pinWarmer(pod: KubernetesObject & { spec?: unknown }): Pinning {
  const labels = record(pod.metadata.labels) ?? {};
  const annotations = record(pod.metadata.annotations) ?? {};
  const spec = record(pod.spec);
  if (labels[WARMER_LABEL] !== 'true') return denied(`the pod has no label ${WARMER_LABEL}=true`);
  if (!spec) return denied('the warmer has no spec');
  const present = readText(spec['nodeName']);
  const nodes = readText(annotations[NODES_ANNOTATION]);
  if (nodes === undefined) {
    if (present) return { ok: true, patch: [] };
    return denied(`the warmer has neither a node nor the annotation ${NODES_ANNOTATION}`);
  }
  const chosen = chooseNode(nodes, readText(labels[COMPLETION_INDEX] ?? annotations[COMPLETION_INDEX]));
  if ('reason' in chosen) return denied(chosen.reason);
  const { nodeName } = chosen;
  if (present && present !== nodeName) {
    return denied(`the warmer is already on node ${quote(present)}, not ${nodeName}`);
  }
  return {
    ok: true,
    patch: [
      { op: 'add', path: '/spec/nodeName', value: nodeName },
      { op: 'remove', path: jsonPointer('metadata', 'annotations', NODES_ANNOTATION) },
    ],
  };
}

function chooseNode(nodes: string, index: string | undefined): { nodeName: string } | { reason: string } {
  if (index === undefined || !/^\d{1,6}$/.test(index)) {
    return {
      reason: `the warmer has no valid ${COMPLETION_INDEX}: ${index === undefined ? index : quote(index)}`,
    };
  }
  const nodeName = nodes.split(',', Number(index) + 1)[Number(index)];
  if (!nodeName)
    return { reason: `completion index ${index} has no node in the annotation ${NODES_ANNOTATION}` };
  return NODE_NAME.test(nodeName) ? { nodeName } : { reason: `${quote(nodeName)} is not the name of a node` };
}

function denied(reason: string): Pinning {
  return { ok: false, reason };
}
