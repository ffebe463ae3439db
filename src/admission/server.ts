import {
  constants,
  type Http2ServerRequest,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fastify, { type FastifyInstance } from 'fastify';
import type { CertificateSource } from '../certs/certificate-source.ts';
import { type AdmissionOptions, admissionPlugin } from './plugin.ts';

/** An object may have 1.5 MiB in etcd, and a review carries the old one beside the new. */
const BODY_LIMIT = 4 << 20;
/** The webhook's time-out is 2 s: a request that is not in by then has lost its asker. */
const REQUEST_TIMEOUT_MS = 5_000;
/** Node's default of 64 KB for a connection makes many requests in flight wait for each other. */
const HTTP2_WINDOW = 4 << 20;

/**
 * Longer than the 90 s for which the API server keeps an idle connection of HTTP/1.1, by which it calls every Service:
 * were it closed here, a call could be on its way at that moment, and the API server repeats none.
 */
const KEEP_ALIVE_MS = 120_000;

/** As Go's servers have it; Node's default is no limit. */
const MAX_STREAMS = 250;
/** How often what takes too long is looked for. */
const SWEEP_MS = 1_000;

/** At the end, what is in flight has this long to be answered, and its answer this long to leave. */
const LAST_ANSWERS_MS = 2_000;
const FLUSH_MS = 50;

/**
 * The TLS server that the API server calls: HTTP/2 and HTTP/1.1 on one port, its certificate renewed without a restart.
 * When it is closed it goes on for `drainMs`, and every answer says that the connection ends.
 */
export async function createAdmissionServer(
  options: AdmissionOptions & { certificates: CertificateSource; drainMs: number },
): Promise<FastifyInstance> {
  const { cert, key } = options.certificates.current();
  const server = fastify({
    http2: true,
    https: {
      ...{ allowHTTP1: true, cert, key, handshakeTimeout: REQUEST_TIMEOUT_MS },
      ...{ connectionsCheckingInterval: SWEEP_MS },
      settings: { maxConcurrentStreams: MAX_STREAMS },
    },
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // A key of that name is odd, but an object that has one is still somebody's object, and is read as it stands: what is
    // read is copied by own keys only (domain/unchecked.ts).
    onProtoPoisoning: 'ignore',
    onConstructorPoisoning: 'ignore',
    // Until the end: the API server takes a 503 for a webhook that failed, and does not ask another replica.
    return503OnClosing: false,
  });
  const sessions = new Set<ServerHttp2Session>();
  server.server.on('session', (session) => {
    session.setLocalWindowSize(HTTP2_WINDOW);
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  // Of HTTP/1.1; fastify sets them for HTTP/1.1 servers only.
  const timeouts = {
    ...{ headersTimeout: REQUEST_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
    keepAliveTimeout: KEEP_ALIVE_MS,
  };
  Object.assign(server.server, timeouts);
  const connections = new Set<Socket>();
  server.server.on('connection', (socket: Socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
  });
  // The API server keeps its connections open for minutes, and makes new ones here until its kube-proxy has learnt that
  // this replica ends. Until then all are served, but each is told to go elsewhere: by GOAWAY, or, in HTTP/1.1, by the
  // `Connection: close` that fastify adds from now on. What is in flight at the end is answered before they go.
  server.addHook('preClose', async () => {
    for (const session of sessions) session.close();
    await sleep(options.drainMs);
    const end = Date.now() + LAST_ANSWERS_MS;
    for (const session of sessions) session.close();
    while ((inFlight.size > 0 || sessions.size > 0) && Date.now() < end) await sleep(10);
    await sleep(FLUSH_MS);
    clearInterval(sweep);
    // Idle ones of HTTP/1.1. After a reset, a call that begins before the API server has looked fails with its first
    // byte, and is made anew by another connection; after an orderly end it would be lost.
    for (const socket of connections) socket.resetAndDestroy();
  });
  /** What is being answered, and since when. */
  const inFlight = new Map<Http2ServerRequest, number>();
  server.addHook('onRequest', ({ raw }, reply, done) => {
    inFlight.set(raw, Date.now());
    // Not onResponse: there is none where a client of HTTP/1.1 leaves in the middle of its request.
    reply.raw.once('close', () => inFlight.delete(raw));
    done();
  });
  // Those time-outs are not for HTTP/2; and who does not take the answer keeps it in our memory.
  const sweep = setInterval(() => {
    for (const [raw, since] of inFlight) if (Date.now() - since > REQUEST_TIMEOUT_MS) cutOff(raw);
  }, SWEEP_MS).unref();
  options.certificates.onChange((next) => server.server.setSecureContext({ cert: next.cert, key: next.key }));
  await server.register(admissionPlugin, options);
  return server as unknown as FastifyInstance;
}

/** A request of HTTP/1.1 has no stream of its own. */
function cutOff(raw: Http2ServerRequest): void {
  const { stream } = raw as { stream?: ServerHttp2Stream };
  if (stream) stream.close(constants.NGHTTP2_CANCEL);
  else raw.socket.destroy();
}
