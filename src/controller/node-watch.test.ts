import { createServer, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { listening } from '../kube/api-server.simulation.ts';
import { createInformer } from '../kube/informer.ts';
import { createNodeChanges } from './node-changes.ts';
import { createNodeWatch } from './node-watch.ts';

/** Timers fire in the order in which they are due: after this, what had settled by then was told. */
const SETTLED_MS = 600;
const IMAGES = Array.from({ length: 50 }, (_, index) => ({
  names: [
    `registry.example.com/app-${index}@sha256:${String(index).repeat(64).slice(0, 64)}`,
    `app-${index}:1`,
  ],
  sizeBytes: 10_000_000 + index,
}));

function node(index: number, version: number, beat = 'now') {
  const conditions = [{ type: 'Ready', status: 'True', lastHeartbeatTime: beat }];
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: `n-${index}`,
      uid: `u-${index}`,
      resourceVersion: String(version),
      labels: { pool: 'a' },
    },
    status: { conditions, images: IMAGES },
  };
}

/** The lists of an API server, each page as the bytes that it is; `watching` are the answers that are still open. */
async function serve(count: number) {
  const watching: ServerResponse[] = [];
  const pages = new Map<string, Buffer>();
  const pageAt = (from: number, limit: number) => {
    const items = Array.from({ length: Math.min(limit, count - from) }, (_, at) => node(from + at, 1));
    const next = from + limit < count ? { continue: String(from + limit) } : {};
    return Buffer.from(JSON.stringify({ metadata: { resourceVersion: '7', ...next }, items }));
  };
  let lists = 0;
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://server');
    response.writeHead(200, { 'content-type': 'application/json' });
    if (searchParams.has('watch')) return void watching.push(response);
    const key = `${searchParams.get('continue') ?? 0} ${searchParams.get('limit')}`;
    if (!searchParams.has('continue')) lists += 1;
    const [from = 0, limit = count] = key.split(' ').map(Number);
    const page = pages.get(key) ?? pageAt(from, limit);
    pages.set(key, page);
    response.end(page);
  });
  return { watching, ...(await listening(server)), lists: () => lists };
}

/** The longest that the loop was held up, by processor time: a machine that is busy with others adds nothing. */
function watchStalls() {
  let [longestMs, before] = [0, process.threadCpuUsage()];
  const timer = setInterval(() => {
    const now = process.threadCpuUsage();
    longestMs = Math.max(longestMs, (now.user + now.system - before.user - before.system) / 1000);
    before = now;
  }, 1);
  onTestFinished(() => clearInterval(timer));
  return { longestMs: () => longestMs };
}

const until = async (what: () => boolean) => {
  while (!what()) await sleep(20);
};

/** One task for each of the images. */
async function watchNodes(count: number, images = ['app-1']) {
  const queued: string[] = [];
  const tasks = images.map(
    (image) =>
      ({
        metadata: { name: image, namespace: 'ns' },
        spec: { images: [{ image: `docker.io/library/${image}:1` }] },
        status: { nodes: { eligible: count } },
      }) as PrewarmTask,
  );
  const { watching, client, lists } = await serve(count);
  const watch = createNodeWatch(
    (part) => createInformer({ client, onError: () => {}, ...part }),
    (...change) => changes.note(...change),
  );
  const changes = createNodeChanges({
    tasks: { values: () => tasks },
    fitsOf: () => () => undefined,
    sizes: watch.sizes,
    queue: { add: (key) => queued.push(key), size: () => 0 },
  });
  onTestFinished(() => {
    watch.nodes.stop();
    changes.stop();
  });
  return { ...watch, watching, lists, queued };
}

it('a relist of 5,000 nodes holds nothing up, and has no task looked at where nothing changed', async () => {
  const { nodes, watching, lists, queued } = await watchNodes(5_000);
  await nodes.start();
  await until(() => watching.length === 1);
  await sleep(SETTLED_MS);
  const before = queued.length;
  const gone = {
    type: 'ERROR',
    object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' },
  };
  // What IPS does it does each time; a machine that stands still, which Linux counts as work of whom it interrupts, not.
  const longest: number[] = [];
  for (let relist = 1; relist <= 3; relist += 1) {
    const stalls = watchStalls();
    // Its pages are there already, and the time is that of taking them in.
    watching.at(-1)?.write(`${JSON.stringify(gone)}\n`);
    await until(() => lists() === relist + 1 && watching.length === relist + 1);
    expect(nodes.values()).toHaveLength(5_000);
    longest.push(stalls.longestMs());
  }
  expect(Math.min(...longest)).toBeLessThan(50);
  await sleep(SETTLED_MS);
  expect(queued).toHaveLength(before);
}, 120_000);

it('heartbeats have no task looked at; a node that is no longer ready has', async () => {
  const { nodes, watching, queued } = await watchNodes(200);
  await nodes.start();
  await until(() => watching.length === 1);
  await sleep(SETTLED_MS);
  const before = queued.length;
  const tell = (object: object) => watching[0]?.write(`${JSON.stringify({ type: 'MODIFIED', object })}\n`);
  for (let index = 0; index < 200; index += 1) tell(node(index, 10 + index, 'later'));
  await until(() => nodes.get('n-199')?.metadata.resourceVersion === '209');
  await sleep(SETTLED_MS);
  expect(queued).toHaveLength(before);
  const unready = node(100, 300);
  unready.status.conditions = [{ type: 'Ready', status: 'Unknown', lastHeartbeatTime: 'later' }];
  tell(unready);
  await until(() => queued.length === before + 1);
}, 120_000);

it('of hundreds of nodes that change, tasks are looked at which one of them concerns, and no others', async () => {
  const { nodes, watching, queued } = await watchNodes(500, ['app-1', 'app-3', 'late']);
  await nodes.start();
  await until(() => watching.length === 1);
  await sleep(SETTLED_MS);
  queued.length = 0;
  for (let index = 0; index < 500; index += 1) {
    const names = [index === 499 ? 'late:1' : 'other:1'];
    const object = node(index, 10 + index);
    object.status.images = IMAGES.map((image, at) => (at === 3 ? { ...image, names } : image));
    watching[0]?.write(`${JSON.stringify({ type: 'MODIFIED', object })}\n`);
  }
  await until(() => queued.includes('ns/late'));
  await sleep(SETTLED_MS);
  expect([...new Set(queued)].sort()).toEqual(['ns/app-3', 'ns/late']);
}, 120_000);
