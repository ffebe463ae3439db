import { NODES_ANNOTATION, WARMER_LABEL } from './annotations.ts';
import { type JsonPatchOperation, jsonPointer } from './json-patch.ts';
import type { Pod } from './kubernetes.ts';

/** Written by the Job controller on the pods of Indexed Jobs (a label since Kubernetes 1.28). */
export const COMPLETION_INDEX = 'batch.kubernetes.io/job-completion-index';

export type Pinning = { ok: true; patch: JsonPatchOperation[] } | { ok: false; reason: string };

/**
 * Pins a warmer to its node: completion index i goes to the i-th node of its annotation, which is then removed, so that
 * stored pods stay small. Called again on its own result it changes nothing. An unpinned warmer is never let through.
 */
export function pinWarmer(pod: Pod): Pinning {
  const { labels, annotations } = pod.metadata;
  if (labels?.[WARMER_LABEL] !== 'true')
    return { ok: false, reason: `the pod has no label ${WARMER_LABEL}=true` };
  const nodes = annotations?.[NODES_ANNOTATION];
  if (nodes === undefined) {
    if (pod.spec?.nodeName) return { ok: true, patch: [] };
    return { ok: false, reason: `the warmer has neither a node nor the annotation ${NODES_ANNOTATION}` };
  }
  const index = labels?.[COMPLETION_INDEX] ?? annotations?.[COMPLETION_INDEX];
  if (index === undefined || !/^\d{1,6}$/.test(index)) {
    return { ok: false, reason: `the warmer has no valid ${COMPLETION_INDEX}: ${JSON.stringify(index)}` };
  }
  const nodeName = nodes.split(',')[Number(index)];
  if (!nodeName)
    return {
      ok: false,
      reason: `completion index ${index} has no node in the annotation ${NODES_ANNOTATION}`,
    };
  if (pod.spec?.nodeName && pod.spec.nodeName !== nodeName) {
    return { ok: false, reason: `the warmer is already on node ${pod.spec.nodeName}, not ${nodeName}` };
  }
  return {
    ok: true,
    patch: [
      { op: 'add', path: '/spec/nodeName', value: nodeName },
      { op: 'remove', path: jsonPointer('metadata', 'annotations', NODES_ANNOTATION) },
    ],
  };
}
