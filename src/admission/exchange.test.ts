import { once } from 'node:events';
import { type ClientHttp2Session, connect, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it, onTestFinished } from 'vitest';
import { exchangeOfStream, readBody } from './exchange.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void;

const STREAMS = 200;
const BYTES_EACH = 64 << 10;

describe('exchangeOfStream', () => {
  it('leaves nothing to the next collection of the whole heap that the stream referred to', async () => {
    const server = createServer();
    server.removeAllListeners('stream');
    server.on('stream', (stream, headers) => {
      // Counted outside the heap, and freed by a collection of the young generation when nothing refers to it any more.
      const probe = new ArrayBuffer(BYTES_EACH);
      stream.on('data', () => probe.byteLength);
      const exchange = exchangeOfStream(stream, headers);
      readBody(exchange.body, 100, () => exchange.answer({ status: 200, body: '{}' }, false));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    onTestFinished(() => {
      session.close();
      server.close();
    });
    // Code is compiled, and what lives long has moved to the old generation.
    for (let i = 0; i < 20; i++) await ask(session);
    collect();
    const before = process.memoryUsage().arrayBuffers;

    for (let i = 0; i < STREAMS; i++) expect(await ask(session)).toBe(200);
    await sleep(20);
    for (let i = 0; i < 3; i++) collect({ type: 'minor' });

    // Some are of the last streams, which end as this is counted.
    expect((process.memoryUsage().arrayBuffers - before) / BYTES_EACH).toBeLessThan(STREAMS / 4);
  });
});

async function ask(session: ClientHttp2Session): Promise<number | undefined> {
  const stream = session.request({ ':method': 'POST', ':path': '/mutate' });
  let status: number | undefined;
  stream.once('response', (headers) => (status = headers[':status']));
  stream.resume().end('{}');
  await once(stream, 'close');
  return status;
}
