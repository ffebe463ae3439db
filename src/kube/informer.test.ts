import { createServer, type ServerResponse } from 'node:http';
import { expect, it, onTestFinished } from 'vitest';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import { listening } from './api-server.simulation.ts';
import { createInformer } from './informer.ts';
import { RESOURCES } from './resources.ts';

/** An API server of one resource; `watches` tells, one after the other, what becomes of each watch. */
async function serve(watches: ((response: ServerResponse) => void)[], listStatus = 200) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://server');
    asked.push(searchParams.has('watch') ? `watch ${searchParams.get('resourceVersion')}` : 'list');
    response.writeHead(listStatus, { 'content-type': 'application/json' });
    if (searchParams.has('watch')) watches.shift()?.(response);
    else response.end(JSON.stringify({ metadata: { resourceVersion: '7' }, items: [node('listed', '7')] }));
  });
  return { asked, ...(await listening(server)) };
}

const node = (name: string, resourceVersion: string) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, uid: name, resourceVersion },
});
const line = (type: string, object: object) => `${JSON.stringify({ type, object })}\n`;
const EXPIRED = line('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' });

// A reader that was left before the end of the answer can throw from nowhere once the connection breaks.
it.each([
  { what: 'the answer ends', after: (response: ServerResponse) => void response.end() },
  { what: 'the connection breaks', after: (response: ServerResponse) => void response.destroy() },
])('lists again after a 410 within a watch, where $what, and the process lives', async ({ after }) => {
  const { asked, client } = await serve([
    (response) => {
      response.write(EXPIRED + line('ADDED', node('too-late', '9')));
      setTimeout(after, 50, response);
    },
    (response) => response.write(line('ADDED', node('told', '8'))),
  ]);
  const errors: unknown[] = [];
  const informer = createInformer({
    client,
    resource: RESOURCES.nodes,
    trim: (object: KubernetesObject) => object,
    onChange: () => {},
    onError: (error) => errors.push(error),
  });
  onTestFinished(() => informer.stop());
  await informer.start();
  await expect.poll(() => informer.get('told'), { timeout: 10_000 }).toBeDefined();
  expect(asked).toEqual(['list', 'watch 7', 'list', 'watch 7']);
  expect(informer.values().map(({ metadata }) => metadata.name)).toEqual(['listed', 'told']);
  expect(errors).toEqual([]);
});

it('asks for bookmarks, and goes on from the last one instead of listing again', async () => {
  const bookmark = { ...node('', '50'), metadata: { resourceVersion: '50' } };
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://server');
    response.writeHead(200, { 'content-type': 'application/json' });
    const from = searchParams.get('resourceVersion');
    asked.push(
      searchParams.has('watch') ? `watch ${from} ${searchParams.get('allowWatchBookmarks')}` : 'list',
    );
    if (!searchParams.has('watch'))
      response.end(JSON.stringify({ metadata: { resourceVersion: '7' }, items: [node('listed', '7')] }));
    else if (from === '7') response.end(line('BOOKMARK', bookmark));
    else response.write(line('ADDED', node('told', '51')));
  });
  const { client } = await listening(server);
  const informer = createInformer({
    ...{ client, resource: RESOURCES.nodes, onChange: () => {}, onError: () => {} },
    trim: (object: KubernetesObject) => object,
  });
  onTestFinished(() => informer.stop());
  await informer.start();
  await expect.poll(() => informer.get('told'), { timeout: 10_000 }).toBeDefined();
  expect(asked).toEqual(['list', 'watch 7 true', 'watch 50 true']);
  expect(informer.values().map(({ metadata }) => metadata.name)).toEqual(['listed', 'told']);
});

it('lists page by page, of the size asked for', async () => {
  const limits: string[] = [];
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://server');
    response.writeHead(200, { 'content-type': 'application/json' });
    if (searchParams.has('watch')) return;
    limits.push(`${searchParams.get('limit')} from ${searchParams.get('continue')}`);
    const page = limits.length;
    const metadata = { resourceVersion: '7', ...(page < 3 ? { continue: `page-${page + 1}` } : {}) };
    response.end(JSON.stringify({ metadata, items: [node(`n${page}`, '7')] }));
  });
  const { client } = await listening(server);
  const informer = createInformer({
    ...{ client, resource: RESOURCES.nodes, pageSize: 1, onChange: () => {} },
    trim: (object: KubernetesObject) => object,
    onError: () => {},
  });
  onTestFinished(() => informer.stop());
  await informer.start();
  expect(limits).toEqual(['1 from null', '1 from page-2', '1 from page-3']);
  expect(informer.values().map(({ metadata }) => metadata.name)).toEqual(['n1', 'n2', 'n3']);
});

it.each([
  { status: 404, told: 'absent' },
  { status: 403, told: 'forbidden' },
])(
  'of a resource that may be missing, $status is no error but $told, and nobody waits for it',
  async ({ status, told }) => {
    const { asked, client } = await serve([], status);
    const said: unknown[] = [];
    const informer = createInformer({
      ...{ client, resource: RESOURCES.nodes, onChange: () => {} },
      trim: (object: KubernetesObject) => object,
      onError: (error) => said.push(error),
      onAvailability: (now) => said.push(now),
    });
    onTestFinished(() => informer.stop());
    await informer.start();
    expect(said).toEqual([told]);
    expect(informer.hasSynced()).toBe(false);
    expect(asked).toEqual(['list']);
  },
);

it('of a resource that has to be there, 404 is an error', async () => {
  const { client } = await serve([], 404);
  const errors: unknown[] = [];
  const informer = createInformer({
    ...{ client, resource: RESOURCES.nodes, onChange: () => {} },
    trim: (object: KubernetesObject) => object,
    onError: (error) => errors.push(error),
  });
  onTestFinished(() => informer.stop());
  void informer.start();
  await expect.poll(() => errors.length, { timeout: 10_000 }).toBeGreaterThan(0);
});

it('tells nothing anew of what our own write had told already, nor of what is older', async () => {
  let tell: (text: string) => void = () => {};
  const { client } = await serve([
    (response) => {
      tell = (text) => response.write(text);
      response.write(line('ADDED', node('first', '8')));
    },
  ]);
  const changes: string[] = [];
  const informer = createInformer({
    ...{ client, resource: RESOURCES.nodes, onError: () => {} },
    trim: (object: KubernetesObject) => object,
    onChange: (key, _before, after) => changes.push(`${key} ${after?.metadata.resourceVersion}`),
  });
  onTestFinished(() => informer.stop());
  await informer.start();
  await expect.poll(() => changes.length, { timeout: 10_000 }).toBe(2);
  informer.put(node('first', '10'));
  for (const version of ['9', '10', '11']) tell(line('MODIFIED', node('first', version)));
  await expect.poll(() => changes.at(-1), { timeout: 10_000 }).toBe('first 11');
  expect(changes).toEqual(['listed 7', 'first 8', 'first 10', 'first 11']);
});
