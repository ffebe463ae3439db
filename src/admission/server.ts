import { once } from 'node:events';
import { createSecureServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CertificateSource } from '../certs/certificate-source.ts';
import { type AdmissionOptions, createAdmission } from './admission.ts';
import { type Exchange, exchangeOfRequest, exchangeOfStream, readBody } from './exchange.ts';
import { InFlight } from './in-flight.ts';

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

const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n';

export type AdmissionServer = {
  /** Resolves with the address as a URL. */
  listen(options: { port: number; host: string }): Promise<string>;
  close(): Promise<void>;
};

/**
 * The TLS server that the API server calls: HTTP/2 and HTTP/1.1 on one port, its certificate renewed without a restart.
 * When it is closed it goes on for `drainMs`, and every answer says that the connection ends.
 */
export function createAdmissionServer(
  options: AdmissionOptions & { certificates: CertificateSource; drainMs: number },
): AdmissionServer {
  const { cert, key } = options.certificates.current();
  const admission = createAdmission(options);
  const server = createSecureServer({
    ...{ allowHTTP1: true, cert, key, handshakeTimeout: REQUEST_TIMEOUT_MS },
    // Of HTTP/1.1.
    ...{ connectionsCheckingInterval: SWEEP_MS, keepAliveTimeout: KEEP_ALIVE_MS },
    ...{ headersTimeout: REQUEST_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
    settings: { maxConcurrentStreams: MAX_STREAMS },
  });
  let isEnding = false;
  const inFlight = new InFlight();
  const serve = (exchange: Exchange): void => {
    exchange.onClose(inFlight.add(exchange));
    readBody(exchange.body, BODY_LIMIT, (body) => {
      const { method, path, contentType } = exchange;
      exchange.answer(admission({ method, path, contentType, body }), isEnding);
    });
  };
  server.on('request', (request, response) => serve(exchangeOfRequest(request, response)));
  // Node's own listener makes a request of each stream of HTTP/2, too, which only looks like one of HTTP/1.1.
  server.removeAllListeners('stream');
  server.on('stream', (stream, headers) => serve(exchangeOfStream(stream, headers)));

  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    session.setLocalWindowSize(HTTP2_WINDOW);
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  const connections = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
  });
  // Where a connection of HTTP/1.1 was opened ahead of a call that went elsewhere, Node would answer 408 when its time is
  // over, which a call that begins at that moment would take for its own answer.
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') underlying(connections, socket)?.resetAndDestroy();
    else if (socket.writable) socket.write(BAD_REQUEST);
    socket.destroy();
  });
  // Those time-outs are not for HTTP/2; and who does not take the answer keeps it in our memory.
  const sweep = setInterval(() => inFlight.cutOffLongerThan(REQUEST_TIMEOUT_MS), SWEEP_MS).unref();
  options.certificates.onChange((next) => server.setSecureContext({ cert: next.cert, key: next.key }));

  return {
    async listen({ port, host }) {
      server.listen({ port, host });
      await once(server, 'listening');
      const { address, port: bound, family } = server.address() as AddressInfo;
      return `https://${family === 'IPv6' ? `[${address}]` : address}:${bound}`;
    },
    // The API server keeps its connections open for minutes, and makes new ones here until its kube-proxy has learnt that
    // this replica ends. Until then all are served, but each is told to go elsewhere: by GOAWAY, or, in HTTP/1.1, by
    // `Connection: close`. What is in flight at the end is answered before they go.
    async close() {
      isEnding = true;
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
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

/** That of TCP, which alone can be reset. */
function underlying(
  connections: Iterable<Socket>,
  { remoteAddress, remotePort }: Socket,
): Socket | undefined {
  for (const each of connections)
    if (each.remotePort === remotePort && each.remoteAddress === remoteAddress) return each;
  return undefined;
}
