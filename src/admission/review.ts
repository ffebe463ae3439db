import type { JsonPatchOperation } from '../domain/json-patch.ts';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import { record } from '../domain/unchecked.ts';

/** admission.k8s.io/v1: the fields in use. */
export type AdmissionRequest = {
  uid: string;
  /** Of the object, as `group/version`. */
  apiVersion: string;
  kind: string;
  namespace: string;
  /** Undefined where there is none, as for a deletion, or none that has metadata. */
  object: KubernetesObject | undefined;
};

export type AdmissionAnswer = {
  allowed: boolean;
  patch?: JsonPatchOperation[];
  warnings?: string[];
  message?: string;
};

/** Reads a review; undefined when it is none, which only something other than an API server sends. */
export function readReview(body: unknown): AdmissionRequest | undefined {
  const request = record(record(body)?.['request']);
  const object = record(request?.['object']);
  const uid = request?.['uid'];
  if (!request || typeof uid !== 'string') return undefined;
  const { group, version, kind } = record(request['kind']) ?? {};
  return {
    uid,
    apiVersion: text(group) ? `${text(group)}/${text(version)}` : text(version),
    kind: text(kind),
    namespace: text(request['namespace']),
    object: object && record(object['metadata']) ? (object as KubernetesObject) : undefined,
  };
}

/** kubectl prints each warning; the API server cuts them at 256 characters and drops those past 4,096 in all. */
const MAX_WARNINGS = 12;

export function answerReview(uid: string, answer: AdmissionAnswer): object {
  const { allowed, patch, warnings, message } = answer;
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: {
      uid,
      allowed,
      ...(patch?.length
        ? { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }
        : {}),
      ...(warnings?.length
        ? { warnings: firstOf(warnings).map((each) => `ips: ${printable(each, 245)}`) }
        : {}),
      ...(message ? { status: { code: 403, message: `ips: ${printable(message, 1000)}` } } : {}),
    },
  };
}

function firstOf(warnings: string[]): string[] {
  if (warnings.length <= MAX_WARNINGS) return warnings;
  const first = warnings.slice(0, MAX_WARNINGS - 1);
  return [...first, `and ${warnings.length - first.length} more warnings`];
}

/** A warning travels in an HTTP header, where control characters may not stand; others would garble a terminal. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu;

function printable(text: string, length: number): string {
  return text.slice(0, length).replace(UNPRINTABLE, ' ');
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
