import { pinWarmer } from '../domain/pinning.ts';
import type { WorkloadTypes } from '../domain/workload-types.ts';
import { mutateWorkload } from './mutate.ts';
import { parseReview } from './parse-review.ts';
import { type AdmissionAnswer, type AdmissionRequest, answerReview, readReview } from './review.ts';

export type AdmissionResult =
  | 'labelled'
  | 'unlabelled'
  | 'unchanged'
  | 'pinned'
  | 'denied'
  | 'invalid'
  | 'error';

export type AdmissionOptions = {
  /** What counts as a workload, whatever the webhook configuration sends. */
  types: WorkloadTypes;
  /** Namespaces that IPS leaves alone, whatever the webhook configuration sends. */
  excludedNamespaces: readonly string[];
  /** Called once for each request; `error` is what went wrong, where the fault is ours. */
  observe(result: AdmissionResult, seconds: number, error?: Error): void;
};

export type HttpRequest = {
  method: string | undefined;
  /** With its query: the API server appends its time-out. */
  path: string | undefined;
  contentType: string | undefined;
  /** Undefined where there is more than anybody needs. */
  body: Buffer | undefined;
};
/** Its body is JSON. */
export type HttpAnswer = { status: number; body: string };

type Answer = AdmissionAnswer & { result: AdmissionResult };
type Route = { handle(request: AdmissionRequest): Answer; otherwise: Answer };

/** The API server's paths into IPS. Both answer from the request alone: no call, no lock, no state. Never throws. */
export function createAdmission(options: AdmissionOptions): (request: HttpRequest) => HttpAnswer {
  const mutate = ({ namespace, apiVersion, kind, object }: AdmissionRequest): Answer => {
    if (options.excludedNamespaces.includes(namespace)) return { allowed: true, result: 'unchanged' };
    if (!object) return { allowed: true, result: 'unchanged', warnings: [NOTHING_TO_READ] };
    return { allowed: true, ...mutateWorkload(options.types, { apiVersion, kind, object }) };
  };
  const pin = ({ object }: AdmissionRequest): Answer => {
    const pinning = object ? pinWarmer(object) : { ok: false as const, reason: NOTHING_TO_READ };
    if (!pinning.ok) return { allowed: false, message: pinning.reason, result: 'denied' };
    return { allowed: true, patch: pinning.patch, result: 'pinned' };
  };
  const routes = new Map<string, Route>([
    ['/mutate', { handle: mutate, otherwise: { allowed: true, warnings: [FAULT], result: 'error' } }],
    ['/pin', { handle: pin, otherwise: { allowed: false, message: FAULT, result: 'error' } }],
  ]);

  return ({ method, path = '', contentType, body }) => {
    const [pathname = ''] = path.split('?', 1);
    const route = method === 'POST' ? routes.get(pathname) : undefined;
    // Who asks for something else does not ask for admission.
    if (!route) return NOT_FOUND;
    const started = performance.now();
    const done = (answer: HttpAnswer, result: AdmissionResult, error?: Error): HttpAnswer => {
      options.observe(result, (performance.now() - started) / 1000, error);
      return answer;
    };
    if (!body) return done(TOO_LONG, 'invalid');
    if (!contentType || !JSON_TYPE.test(contentType)) return done(NO_JSON_TYPE, 'invalid');
    const review = readReview(parseReview(body));
    if (!review) return done(NO_REVIEW, 'invalid');
    const { answer, error } = answered(route, review);
    return done(
      { status: 200, body: JSON.stringify(answerReview(review.uid, answer)) },
      answer.result,
      error,
    );
  };
}

/** A fault of ours is no reason for a 5xx: that would say nothing to the user, who sees the answer. */
function answered({ handle, otherwise }: Route, review: AdmissionRequest): { answer: Answer; error?: Error } {
  try {
    return { answer: handle(review) };
  } catch (error) {
    return { answer: otherwise, error: error as Error };
  }
}

const JSON_TYPE = /^application\/json\s*(;|$)/i;
const NOTHING_TO_READ = 'the review holds no object with metadata';
const FAULT = 'this object could not be read, which is a fault of IPS; its log says more';

const NOT_FOUND = refusal(404, 'IPS_ADMISSION_NOT_FOUND', 'reviews are posted to /mutate and /pin');
const TOO_LONG = refusal(413, 'IPS_ADMISSION_TOO_LONG', 'a review may have 4 MiB');
const NO_JSON_TYPE = refusal(415, 'IPS_ADMISSION_TYPE', 'a review is of the content type application/json');
const NO_REVIEW = refusal(
  400,
  'IPS_ADMISSION_INVALID',
  'not an AdmissionReview of admission.k8s.io/v1 with a request.uid',
);

function refusal(status: number, code: string, message: string): HttpAnswer {
  return { status, body: JSON.stringify({ code, message }) };
}
