import { OUTPUT, PREWARM, parseSettings } from '../domain/annotations.ts';
import { type JsonPatchOperation, jsonPointer } from '../domain/json-patch.ts';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import { type Fields, isSet, record } from '../domain/unchecked.ts';
import { imagesOf, readWorkload, type Workload, wantsPrewarm } from '../domain/workload.ts';
import { typeOf, type WorkloadTypes } from '../domain/workload-types.ts';

export type Mutation = {
  result: 'labelled' | 'unlabelled' | 'unchanged';
  patch: JsonPatchOperation[];
  warnings: string[];
};

const ADD_LABELS: JsonPatchOperation = { op: 'add', path: '/metadata/labels', value: {} };
const ADD_LABEL: JsonPatchOperation = {
  op: 'add',
  path: jsonPointer('metadata', 'labels', PREWARM),
  value: 'true',
};
const UNCHANGED: Mutation = { result: 'unchanged', patch: [], warnings: [] };

/**
 * What admission does to a workload: the opt-in becomes the label that watches select on, opting out takes the label
 * and IPS's own annotations away, and wrong values become warnings. `spec` is never touched. The same patch comes for
 * the same object, and none for an object that was patched already.
 */
export function mutateWorkload(
  types: WorkloadTypes,
  { apiVersion, kind, object }: { apiVersion: string; kind: string; object: KubernetesObject },
): Mutation {
  const type = typeOf(types, apiVersion, kind);
  if (!type) return UNCHANGED;
  const present = ownMetadata(object.metadata);
  if (!present) return { ...UNCHANGED, warnings: ['the labels or annotations are no object; not prewarmed'] };
  const workload = readWorkload(types, type, object);
  // What it carries came from its controller, who would write it again.
  if (workload.controlled) return UNCHANGED;
  if (wantsPrewarm(workload)) return optIn(workload, present);
  const patch = optOut(present);
  const { warnings } = parseSettings(workload.metadata.annotations, workload.template.annotations);
  const all = [...workload.template.warnings, ...warnings];
  return { result: patch.length > 0 ? 'unlabelled' : 'unchanged', patch, warnings: all };
}

/** What stands there, readable or not: a patch has to fit it. */
type Present = { labels: Fields | undefined; annotations: Fields | undefined };

/** Undefined where a patch would replace something that is not understood. */
function ownMetadata(metadata: unknown): Present | undefined {
  const { labels, annotations } = record(metadata) ?? {};
  const readable = [labels, annotations].every((each) => !isSet(each) || record(each));
  return readable ? { labels: record(labels), annotations: record(annotations) } : undefined;
}

function optIn(workload: Workload, { labels }: Present): Mutation {
  const { warnings, images, settings } = imagesOf(workload);
  const all = [
    ...warnings,
    ...(images.length === 0 ? ['there is no image to prewarm'] : []),
    ...(settings.notify.length > 0
      ? ['annotation ips/notify: no notifier is configured; nobody is told']
      : []),
  ];
  if (labels?.[PREWARM] === 'true') return { result: 'unchanged', patch: [], warnings: all };
  return { result: 'labelled', patch: labels ? [ADD_LABEL] : [ADD_LABELS, ADD_LABEL], warnings: all };
}

function optOut({ labels = {}, annotations = {} }: Present): JsonPatchOperation[] {
  const remove = (field: 'labels' | 'annotations', name: string): JsonPatchOperation => ({
    op: 'remove',
    path: jsonPointer('metadata', field, name),
  });
  const outputs = Object.values(OUTPUT).filter((name) => Object.hasOwn(annotations, name));
  return [
    ...(Object.hasOwn(labels, PREWARM) ? [remove('labels', PREWARM)] : []),
    ...outputs.map((name) => remove('annotations', name)),
  ];
}
