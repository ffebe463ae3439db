import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import { expect, it, onTestFinished } from 'vitest';
import { createKubeClient } from './client.ts';
import { RESOURCES } from './resources.ts';

/** Answers at once, but for the object `slow`, which waits for ever. */
async function startServer(
  port = 0,
): Promise<{ server: Server; port: number; slow: Promise<ServerResponse> }> {
  let hold = (_: ServerResponse) => {};
  const slow = new Promise<ServerResponse>((resolve) => {
    hold = resolve;
  });
  const server = createServer((request, response) => {
    if (request.url?.endsWith('/slow')) return hold(response);
    response.setHeader('content-type', 'application/json');
    response.end('{"metadata":{}}');
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  onTestFinished(() => server.closeAllConnections());
  onTestFinished(() => void server.close());
  return { server, port: (server.address() as AddressInfo).port, slow };
}

function clientOf(port: number) {
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [{ name: 'c', server: `http://127.0.0.1:${port}`, skipTLSVerify: true }],
    users: [{ name: 'u' }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
    currentContext: 'x',
  });
  const returns: number[] = [];
  const client = createKubeClient(config, { userAgent: 'test', onReturn: (awayMs) => returns.push(awayMs) });
  return { get: (name: string) => client.get(RESOURCES.nodes, undefined, name), returns };
}

it('an API server that did not answer and does again has returned, and is said to have been away for so long', async () => {
  const { server, port } = await startServer();
  const { get, returns } = clientOf(port);
  await get('a');
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  const begunMs = performance.now();
  await expect(get('a')).rejects.toThrow('did not answer');
  await new Promise((resolve) => setTimeout(resolve, 50));
  await expect(get('a')).rejects.toThrow('did not answer');
  await startServer(port);
  await get('a');
  expect(returns).toEqual([expect.any(Number)]);
  expect(returns[0]).toBeGreaterThanOrEqual(49);
  expect(returns[0]).toBeLessThanOrEqual(performance.now() - begunMs);
});

it('one request that fails while others are answered does not mean that the API server was away', async () => {
  const { port, slow } = await startServer();
  const { get, returns } = clientOf(port);
  const failing = expect(get('slow')).rejects.toThrow('did not answer');
  const response = await slow;
  await get('a');
  response.destroy();
  await failing;
  await get('a');
  expect(returns).toEqual([]);
});
