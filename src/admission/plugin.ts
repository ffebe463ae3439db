import type { FastifyInstance, FastifyReply } from 'fastify';
import { pinWarmer } from '../domain/pinning.ts';
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
  /** Namespaces that IPS leaves alone, whatever the webhook configuration sends. */
  excludedNamespaces: readonly string[];
  /** Called once for each answer; `error` is why there was none, where the fault is ours. */
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

  type Handler = (request: AdmissionRequest) => AdmissionAnswer & { result: AdmissionResult };

  const route = (path: string, handle: Handler): void => {
    server.post(path, async (request, reply) => {
      const started = process.hrtime.bigint();
      const review = readReview(request.body);
      const answer = review && handle(review);
      options.observe(answer?.result ?? 'invalid', Number(process.hrtime.bigint() - started) / 1e9);
      if (!review || !answer) return invalid(reply);
      return answerReview(review.uid, answer);
    });
  };

  route('/mutate', (request) => {
    if (options.excludedNamespaces.includes(request.namespace)) return { allowed: true, result: 'unchanged' };
    return { allowed: true, ...mutateWorkload(request.kind, request.object) };
  });
  route('/pin', (request) => {
    const pinning = pinWarmer(request.object);
    if (!pinning.ok) return { allowed: false, message: `ips: ${pinning.reason}`, result: 'denied' };
    return { allowed: true, patch: pinning.patch, result: 'pinned' };
  });
}

function invalid(reply: FastifyReply): object {
  reply.code(400);
  return {
    code: 'IPS_ADMISSION_INVALID',
    message: 'not an AdmissionReview of admission.k8s.io/v1 with request.uid and request.object.metadata',
  };
}
