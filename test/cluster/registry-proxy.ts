import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Front, Mode, Rate, RegistryRequest } from './fronts.ts';

/**
 * Runs inside a cluster, on whose loopback nodes pull without TLS: ports in front of its registries that misbehave as
 * they are told, and remember what they were asked. `registry-proxy.ts CONTROL-PORT`; see fronts.ts for who tells it.
 */
type Known = { front: Front; server: Server; requests: RegistryRequest[]; bucket?: Bucket };
/** What is left of a rate, and when that was counted. */
type Bucket = { left: number; atMs: number };

const fronts = new Map<string, Known>();
const open = new Set<Socket>();

createServer((incoming, response) => {
  control(incoming).then(
    (answer) => response.end(JSON.stringify(answer)),
    (error: unknown) => response.writeHead(500).end(String(error)),
  );
}).listen(Number(process.argv[2]), '0.0.0.0');

/** `PUT /PORT` sets what a front does; `GET /PORT` tells what it was asked. */
async function control(incoming: IncomingMessage): Promise<RegistryRequest[]> {
  const port = (incoming.url ?? '').slice(1);
  if (incoming.method === 'PUT') {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    await setFront(port, JSON.parse(Buffer.concat(chunks).toString()) as Front);
  }
  return fronts.get(port)?.requests ?? [];
}

async function setFront(port: string, front: Front): Promise<void> {
  const known = fronts.get(port);
  const requests = known?.requests ?? [];
  if (known?.front.mode === 'silent') for (const socket of open) socket.destroy();
  if (known) known.front = front;
  const server = known?.server ?? createServer((incoming, response) => answer(port, incoming, response));
  fronts.set(port, { front, server, requests });
  if (!known) server.on('connection', (socket: Socket) => take(port, socket));
  if (front.mode === 'down' && server.listening) {
    await new Promise((resolve) => {
      server.close(resolve);
      for (const socket of open) socket.destroy();
    });
  }
  if (front.mode !== 'down' && !server.listening)
    await new Promise<void>((resolve) => server.listen(Number(port), '127.0.0.1', resolve));
}

function take(port: string, socket: Socket): void {
  open.add(socket);
  socket.on('close', () => open.delete(socket));
  const found = fronts.get(port);
  if (found?.front.mode !== 'reset') return;
  found.requests.push({ atMs: Date.now(), method: 'CONNECT', path: '' });
  socket.resetAndDestroy();
}

function answer(port: string, incoming: IncomingMessage, response: ServerResponse): void {
  const found = fronts.get(port);
  if (!found) return void response.destroy();
  const { method = '', url: path = '' } = incoming;
  const { mode, target, retryAfter, rate } = found.front;
  const limited = mode === 'limited' || (mode === 'metered' && rate !== undefined && !takeToken(found, rate));
  found.requests.push({ atMs: Date.now(), method, path, ...(limited ? { limited } : {}) });
  if (mode === 'silent') return;
  if (limited) {
    const errors = [{ code: 'TOOMANYREQUESTS', message: 'pull rate limit exceeded' }];
    response.writeHead(429, {
      'content-type': 'application/json',
      ...(retryAfter ? { 'retry-after': retryAfter } : {}),
    });
    response.end(JSON.stringify({ errors }));
    return;
  }
  const upstream = request(new URL(path, target), { method, headers: incoming.headers }, (from) => {
    response.writeHead(from.statusCode ?? 502, from.headers);
    pass(from, response, mode).catch(() => response.destroy());
  });
  upstream.on('error', () => response.destroy());
  incoming.pipe(upstream);
}

/** A token bucket, as registries have them. */
function takeToken(known: Known, { burst, perSecond }: Rate): boolean {
  const nowMs = performance.now();
  const { left, atMs } = known.bucket ?? { left: burst, atMs: nowMs };
  const now = Math.min(burst, left + ((nowMs - atMs) / 1000) * perSecond);
  known.bucket = { left: now >= 1 ? now - 1 : now, atMs: nowMs };
  return now >= 1;
}

const SLICE = 10_000;

/** Slowly: 100 kB a second. */
async function pass(from: IncomingMessage, to: ServerResponse, mode: Mode): Promise<void> {
  for await (const chunk of from) {
    const bytes = chunk as Buffer;
    const size = mode === 'slow' ? SLICE : bytes.length;
    for (let start = 0; start < bytes.length; start += size) {
      if (to.destroyed) return;
      to.write(bytes.subarray(start, start + size));
      if (mode === 'slow') await sleep(100);
    }
  }
  to.end();
}
