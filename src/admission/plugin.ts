import type { FastifyInstance, FastifyReply } from 'fastify';
import { pinWarmer } from '../domain/pinning.ts';
import type { WorkloadTypes } from '../domain/workload-types.ts';
import { mutateWorkload } from './mutate.ts';
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

/** The API server's paths into IPS. Both answer from the request alone: no call, no lock, no state. */
export async function admissionPlugin(server: FastifyInstance, options: AdmissionOptions): Promise<void> {
  // What does not get as far as an answer: a body that is too long, or no JSON, or a fault of ours.
  server.addHook('onError', async (_request, reply, error) => {
    const seconds = reply.elapsedTime / 1000;
    if ((error.statusCode ?? 500) < 500) options.observe('invalid', seconds);
    else options.observe('error', seconds, error);
  });

  type Answer = AdmissionAnswer & { result: AdmissionResult };

  const route = (path: string, handle: (request: AdmissionRequest) => Answer, otherwise: Answer): void => {
    /** A fault of ours is no reason for a 5xx: that would say nothing to the user, who sees the answer. */
    const answered = (review: AdmissionRequest): Answer & { error?: Error } => {
      try {
        return handle(review);
      } catch (error) {
        return { ...otherwise, error: error as Error };
      }
    };
    server.post(path, (request, reply) => {
      const started = performance.now();
      const review = readReview(request.body);
      const answer = review && answered(review);
      const seconds = (performance.now() - started) / 1000;
      options.observe(answer?.result ?? 'invalid', seconds, answer?.error);
      if (!review || !answer) refuse(reply);
      // As text: fastify would look for a schema to write it by.
      else reply.type(JSON_TYPE).send(JSON.stringify(answerReview(review.uid, answer)));
    });
  };

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
  route('/mutate', mutate, { allowed: true, warnings: [FAULT], result: 'error' });
  route('/pin', pin, { allowed: false, message: FAULT, result: 'error' });
}

const JSON_TYPE = 'application/json; charset=utf-8';
const NOTHING_TO_READ = 'the review holds no object with metadata';
const FAULT = 'this object could not be read, which is a fault of IPS; its log says more';

function refuse(reply: FastifyReply): void {
  reply.code(400).send({
    code: 'IPS_ADMISSION_INVALID',
    message: 'not an AdmissionReview of admission.k8s.io/v1 with a request.uid',
  });
}
