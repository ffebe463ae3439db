import type { ServerHttp2Session } from 'node:http2';
import fastify, { type FastifyInstance } from 'fastify';
import type { CertificateSource } from '../certs/certificate-source.ts';
import { type AdmissionOptions, admissionPlugin } from './plugin.ts';

/** An object may have 1.5 MiB in etcd, and a review carries the old one beside the new. */
const BODY_LIMIT = 4 << 20;
/** The webhook's time-out is 2 s: a request that is not in by then has lost its asker. */
const REQUEST_TIMEOUT_MS = 5_000;
/** Node's default of 64 KB for a connection makes many requests in flight wait for each other. */
const HTTP2_WINDOW = 4 << 20;

/** The TLS server that the API server calls: HTTP/2 and HTTP/1.1 on one port, its certificate renewed without a restart. */
export async function createAdmissionServer(
  options: AdmissionOptions & { certificates: CertificateSource },
): Promise<FastifyInstance> {
  const { cert, key } = options.certificates.current();
  const server = fastify({
    http2: true,
    https: { allowHTTP1: true, cert, key },
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT_MS,
  });
  const sessions = new Set<ServerHttp2Session>();
  server.server.on('session', (session) => {
    session.setLocalWindowSize(HTTP2_WINDOW);
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  // The API server keeps its connections open for minutes. This answers what is in flight, and takes nothing more.
  server.addHook('preClose', async () => {
    for (const session of sessions) session.close();
  });
  options.certificates.onChange((next) => server.server.setSecureContext({ cert: next.cert, key: next.key }));
  await server.register(admissionPlugin, options);
  return server as unknown as FastifyInstance;
}
