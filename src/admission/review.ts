import type { JsonPatchOperation } from '../domain/json-patch.ts';
import type { KubernetesObject } from '../domain/kubernetes.ts';

/** admission.k8s.io/v1: the fields in use. */
export type AdmissionRequest = {
  uid: string;
  kind: string;
  namespace: string;
  object: KubernetesObject;
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
  if (!request || !object || typeof uid !== 'string' || !record(object['metadata'])) return undefined;
  return {
    uid,
    kind: text(record(request['kind'])?.['kind']),
    namespace: text(request['namespace']),
    object: object as KubernetesObject,
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
      ...(warnings?.length ? { warnings: warnings.slice(0, MAX_WARNINGS).map(printable) } : {}),
      ...(message ? { status: { code: 403, message } } : {}),
    },
  };
}

/** A warning travels in an HTTP header, where control characters may not stand. */
function printable(warning: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return `ips: ${warning.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')}`.slice(0, 250);
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
