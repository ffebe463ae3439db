import type { FastifyInstance } from 'fastify';
import { Problem } from './problem.ts';

/**
 * Answers 405, with what is allowed, where a path is there and its method is not; else that would be a 404. To be called
 * before the routes are made; what it returns, after them.
 */
export function answerOtherMethods(server: FastifyInstance): () => void {
  const methods = new Map<string, Set<string>>();
  server.addHook('onRoute', ({ url, method }) => {
    const known = methods.get(url) ?? new Set();
    for (const each of [method].flat()) known.add(each);
    methods.set(url, known);
  });

  return () => {
    for (const [url, known] of [...methods]) {
      const allow = [...known].sort().join(', ');
      const others = server.supportedMethods.filter((method) => !known.has(method));
      if (others.length === 0) continue;
      const refuse = async () => {
        throw new Problem(405, `this path takes ${allow}`, { headers: { allow } });
      };
      server.route({
        method: others,
        url: url.slice(server.prefix.length),
        schema: { hide: true },
        config: { demands: () => [] },
        // Before a body is read.
        onRequest: refuse,
        handler: refuse,
      });
    }
  };
}
