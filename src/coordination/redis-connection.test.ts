import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { connectRedis } from './redis-connection.ts';

it('asks by a new connection where the first is taken and never answered', async () => {
  const taken: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    taken.push(socket.resume());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const secrets = {
    ...{ redisUsername: undefined, redisPassword: undefined },
    ...{ redisPasswordFile: undefined, redisTlsCaFile: undefined },
  };
  const connection = connectRedis(
    { host: '127.0.0.1', port, tls: false },
    { ...secrets, redisPrefix: 'ips' },
    () => {},
  );
  onTestFinished(() => {
    connection.close();
    for (const socket of taken) socket.destroy();
    server.close();
  });
  await vi.waitFor(() => expect(taken.length).toBeGreaterThan(1), { timeout: 25_000 });
  expect(connection.problem()).toBe('it takes connections, and does not answer');
});
