import { Registry } from 'prom-client';
import { createApiServer } from '../../src/api/server.ts';

/** From the application's own list, with every method on every path. */
export async function routes(): Promise<{ method: string; url: string }[]> {
  const never = async () => {
    throw new Error('only the list of routes is wanted');
  };
  const server = await createApiServer({
    registry: new Registry(),
    readiness: () => ({ ready: false, checks: {} }),
    access: { authenticate: never, allows: never },
    state: {
      hasSynced: () => false,
      tasks: { get: () => undefined, values: () => [] },
      nodes: { values: () => [] },
      presence: () => 'unknown',
      createTask: never,
      cancelTask: never,
    },
    version: 'test',
    log: { info() {}, error() {} },
  });
  await server.ready();
  const above: string[] = [];
  return server
    .printRoutes({ commonPrefix: false })
    .split('\n')
    .flatMap((line) => {
      const [, indent, path, methods] = /^([│├└─\s]*)(\/\S*) \((.*)\)$/.exec(line) ?? [];
      if (indent === undefined || path === undefined) return [];
      above.length = indent.length / 4 - 1;
      above.push(path);
      return (methods ?? '').split(', ').map((method) => ({ method, url: above.join('') }));
    });
}
