import { PREWARM, WARMER_LABEL } from './annotations.ts';
import type { ManagedFieldsEntry, ObjectMeta, OwnerReference } from './kubernetes.ts';
import { type Fields, picked, put, type Read, readList, readText, record } from './unchecked.ts';

const OWN_LABELS = [PREWARM, WARMER_LABEL];

/** Of labels and annotations only IPS's own: the others may be long, and are nobody's matter here. */
export function readMetadata(value: unknown): ObjectMeta {
  const fields = record(value) ?? {};
  const metadata: ObjectMeta = {};
  for (const name of [
    'name',
    'namespace',
    'uid',
    'resourceVersion',
    'creationTimestamp',
    'deletionTimestamp',
  ] as const) {
    put(metadata, name, readText(fields[name]));
  }
  put(metadata, 'labels', readLabels(fields['labels']));
  const annotations = picked(fields['annotations'], (key) => key.startsWith('ips/'));
  put(metadata, 'annotations', annotations);
  put(metadata, 'ownerReferences', readList(fields['ownerReferences'], '', [], readOwner));
  if (Number.isSafeInteger(fields['generation'])) metadata.generation = fields['generation'] as number;
  return metadata;
}

/** By name: there may be a hundred thousand, which take milliseconds to go through. */
function readLabels(value: unknown): Record<string, string> | undefined {
  const fields = record(value);
  if (!fields) return undefined;
  const labels: Record<string, string> = {};
  for (const name of OWN_LABELS) put(labels, name, readText(fields[name]));
  return labels;
}

/** YAML makes no text of `true` and `3` without quotes; what has no schema keeps them so. */
export function unreadAnnotations(metadata: unknown): string[] {
  const annotations = record(record(metadata)?.['annotations']) ?? {};
  return Object.keys(annotations)
    .filter((name) => name.startsWith('ips/') && typeof annotations[name] !== 'string')
    .map((name) => `annotation ${name} is not text (in YAML, put it in quotes); ignored`);
}

/** Who wrote which fields, of which only the keys are looked at. */
export function readManagedFields(metadata: unknown): ManagedFieldsEntry[] {
  const read: Read<ManagedFieldsEntry> = (fields) => {
    const entry: ManagedFieldsEntry = {};
    put(entry, 'subresource', readText(fields['subresource']) || undefined);
    put(entry, 'fieldsV1', record(fields['fieldsV1']));
    return entry;
  };
  return readList(record(metadata)?.['managedFields'], '', [], read) ?? [];
}

function readOwner(fields: Fields): OwnerReference | undefined {
  const { apiVersion, kind, name, uid, controller } = fields;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return undefined;
  const owner = { apiVersion, kind, name: readText(name) ?? '', uid: readText(uid) ?? '' };
  return typeof controller === 'boolean' ? { ...owner, controller } : owner;
}
