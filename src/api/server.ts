import fastify, { type FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';

export type Readiness = { ready: boolean; checks: Record<string, string> };

/** The plain HTTP server for probes and Prometheus. */
export async function createApiServer(options: {
  registry: Registry;
  readiness: () => Readiness;
}): Promise<FastifyInstance> {
  const server = fastify({ requestTimeout: 10_000, forceCloseConnections: true });
  server.get('/healthz', async () => ({ status: 'ok' }));
  server.get('/readyz', async (_request, reply) => {
    const readiness = options.readiness();
    if (!readiness.ready) reply.code(503);
    return readiness;
  });
  server.get('/metrics', async (_request, reply) => {
    reply.type(options.registry.contentType);
    return options.registry.metrics();
  });
  return server;
}
