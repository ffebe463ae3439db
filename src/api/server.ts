import type { Socket } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';
import { answerOtherMethods } from './methods.ts';
import {
  PROBLEM_TYPE,
  Problem,
  problemDocument,
  problemOf,
  sendProblem,
  validationProblem,
} from './problem.ts';
import { type ApiOptions, apiRoutes } from './routes.ts';

export type Readiness = { ready: boolean; checks: Record<string, string> };

export type ServerOptions = Omit<ApiOptions, 'log'> & {
  registry: Registry;
  readiness: () => Readiness;
  log: ApiOptions['log'] & { error(data: object, message: string): void };
};

/** 100 images of 512 characters and a long affinity take a third of it. */
const BODY_LIMIT = 256 << 10;
/** A request has this long to come in, its headers half of it; who is slower is cut off, at most a second later. */
const REQUEST_MS = 10_000;
const CHECK_MS = 1_000;
/** More than Node takes of a request's headers. */
const MAX_PATH = 16 << 10;
/** A connection on which nothing moves, such as that of a reader who never reads. */
const SILENCE_MS = 60_000;

/** The plain HTTP server: probes and Prometheus, open to all, and the API under `/api/v1`, open to nobody without a token. */
export async function createApiServer(options: ServerOptions): Promise<FastifyInstance> {
  const { log } = options;
  const onError = (error: unknown): Problem => {
    const problem = problemOf(error);
    if (!problem || problem.status >= 500) log.error({ err: error }, 'request failed');
    return problem ?? new Problem(500, 'a fault in IPS; its log tells more');
  };
  const server = fastify({
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_MS,
    connectionTimeout: SILENCE_MS,
    http: { headersTimeout: REQUEST_MS / 2, connectionsCheckingInterval: CHECK_MS },
    forceCloseConnections: true,
    // What is too long is told by its schema.
    routerOptions: { maxParamLength: MAX_PATH },
    schemaErrorFormatter: validationProblem,
    frameworkErrors: (error, _request, reply) => sendProblem(reply, onError(error)),
    clientErrorHandler: refuse,
  });
  // An object is made of JSON, or it is not read.
  server.removeContentTypeParser('text/plain');
  server.setErrorHandler((error, { raw }, reply) => {
    // What was refused before it was read would be read to its end, only to keep the connection.
    const { 'content-length': length, 'transfer-encoding': coding } = raw.headers;
    if (!raw.complete && (length || coding)) reply.header('connection', 'close');
    return sendProblem(reply, onError(error));
  });
  server.setNotFoundHandler(() => {
    throw new Problem(404, 'there is nothing at this path; the API is at /api/v1');
  });

  await server.register(apiRoutes, { ...options, prefix: '/api/v1' });
  const finish = answerOtherMethods(server);
  server.get('/healthz', async () => ({ status: 'ok' }));
  server.get('/readyz', async (_request, reply) => {
    const readiness = options.readiness();
    if (!readiness.ready) reply.code(503);
    return readiness;
  });
  let rendering: Promise<string> | undefined;
  server.get('/metrics', async (_request, reply) => {
    reply.type(options.registry.contentType);
    // It takes a millisecond and anybody may ask: those who ask meanwhile share the answer.
    rendering ??= options.registry.metrics().finally(() => {
      rendering = undefined;
    });
    return rendering;
  });
  finish();
  return server;
}

/** What cannot be read as HTTP, or does not come in time, never gets as far as a route. */
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  if (socket.destroyed || error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(problemDocument(clientProblem(error.code)));
  const head = JSON.parse(body) as { status: number; title: string };
  socket.end(
    `HTTP/1.1 ${head.status} ${head.title}\r\nContent-Type: ${PROBLEM_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    // A peer that keeps its half open would keep the socket.
    () => socket.destroy(),
  );
}

function clientProblem(code: string | undefined): Problem {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new Problem(408, 'the request did not come in time');
  if (code === 'HPE_HEADER_OVERFLOW') return new Problem(431, 'the headers are too large');
  return new Problem(400, 'this is not HTTP');
}
