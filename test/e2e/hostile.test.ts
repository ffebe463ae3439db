import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique } from './kit.ts';

/** Whoever reaches the webhook's port without being the API server: answered or cut off, while applies go on. */
let kit: Kit;
let ips: Ips;
let busy: { stop(): Promise<number> };

beforeAll(async () => {
  kit = await createKit('hostile');
  ips = await startIps(kit.cluster);
  busy = applyOn();
});

afterAll(async () => {
  await ips?.stop();
  await kit?.remove();
});

/** Applies Deployments one after another until stopped; every one of them has to be labelled. */
function applyOn(): { stop(): Promise<number> } {
  let stopped = false;
  const work = (async () => {
    let count = 0;
    for (; !stopped; count += 1) {
      const name = unique('meanwhile');
      const spec = { nodeSelector: { pool: 'none' } };
      await kit.apply(
        deployment(name, { annotations: PREWARM, replicas: 0, images: ['registry.invalid/a:1'], spec }),
      );
      const { labels } = (await kit.get<KubernetesObject>('deployment', name)).metadata;
      if (labels?.['ips/prewarm'] !== 'true') throw new Error(`${name} was not labelled`);
      await kit.kubectl(['delete', 'deployment', name, '--wait=false']);
      await sleep(300);
    }
    return count;
  })();
  work.catch(() => {}); // told by stop
  return {
    stop() {
      stopped = true;
      return work;
    },
  };
}

/** A slow client is cut off after 5 s, at the next look; the rest is for a slow machine. */
const CUT_OFF_MS = 20_000;

const review = (object: unknown, kind = 'Deployment') => ({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: {
    uid: 'u1',
    kind: { group: 'apps', version: 'v1', kind },
    namespace: 'shop',
    operation: 'CREATE',
    object,
  },
});
const GOOD = JSON.stringify(
  review({ metadata: { annotations: PREWARM }, spec: { template: { spec: { containers: [] } } } }),
);

type Answer = { status: number; body: string };

function session(options: object = {}): ClientHttp2Session {
  const made = connectHttp2(`https://127.0.0.1:${ips.webhookPort}`, {
    rejectUnauthorized: false,
    ...options,
  });
  made.on('error', () => {});
  return made;
}

async function post(body: string | Buffer, type = 'application/json', path = '/mutate'): Promise<Answer> {
  const client = session();
  try {
    return await new Promise<Answer>((resolve, reject) => {
      const stream = client.request({ ':method': 'POST', ':path': path, 'content-type': type });
      let status = 0;
      let text = '';
      stream.on('response', (headers) => {
        status = headers[':status'] ?? 0;
      });
      stream.setEncoding('utf8');
      stream.on('data', (part: string) => {
        text += part;
      });
      stream.on('close', () => (status ? resolve({ status, body: text }) : reject(new Error('no answer'))));
      stream.on('error', () => {});
      stream.end(body);
    });
  } finally {
    client.destroy();
  }
}

/** Says something over TLS in HTTP/1.1, a piece every so often; resolves with what came once the other side closed. */
function say(pieces: string[], options: { everyMs?: number; end?: boolean; servername?: string } = {}) {
  return new Promise<string>((resolve, reject) => {
    const { everyMs = 0, end = false, servername } = options;
    const socket: TLSSocket = connectTls({
      ...{ host: '127.0.0.1', port: ips.webhookPort, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] },
      ...(servername ? { servername } : {}),
    });
    let text = '';
    let connected = false;
    const rest = [...pieces];
    const timer = setInterval(() => {
      const piece = rest.shift();
      if (piece !== undefined) socket.write(piece);
      else if (end) socket.end();
    }, everyMs);
    const late = setTimeout(() => reject(new Error(`still open: ${text}`)), CUT_OFF_MS);
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('secureConnect', () => {
      connected = true;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearInterval(timer);
      clearTimeout(late);
      socket.destroy();
      if (connected) resolve(text);
      else reject(new Error('nobody took the connection'));
    });
  });
}

const drip = (start: string) => [start, ...Array.from({ length: 1000 }, () => 'x')];
const HEAD = 'POST /mutate HTTP/1.1\r\nHost: ips\r\nContent-Type: application/json\r\n';

describe('the webhook port', () => {
  test.each([
    { what: 'another content type', status: 415, body: GOOD, type: 'application/xml' },
    { what: 'no JSON', status: 400, body: '{"request": ' },
    { what: 'nothing', status: 400, body: '' },
    { what: 'JSON that is no review', status: 400, body: '[1, 2]' },
    { what: 'null', status: 400, body: 'null' },
    { what: 'a review of another version', status: 400, body: '{"request": {"uid": 1, "object": {}}}' },
    { what: '10 MB', status: 413, body: `"${'x'.repeat(10 << 20)}"` },
    { what: 'a path that is none', status: 404, body: GOOD, path: '/../../etc/passwd' },
    { what: 'arrays, 100,000 deep', status: 400, body: '['.repeat(100_000) + ']'.repeat(100_000) },
    {
      what: 'a template 100,000 levels deep, which no API server would store',
      status: 200,
      body: GOOD.replace('"containers":[]', `"containers":${'['.repeat(1e5)}${']'.repeat(1e5)}`),
    },
    {
      what: 'containers that are a number, which no API server would store',
      status: 200,
      body: GOOD.replace('"containers":[]', '"containers":7'),
    },
    {
      what: 'annotations that are a list of lists',
      status: 200,
      body: JSON.stringify(review({ metadata: { annotations: [['ips/prewarm', 'true']] } })),
    },
    {
      what: '__proto__ and constructor',
      status: 200,
      body: GOOD.replace(
        '"metadata":',
        '"__proto__":{"x":1},"constructor":{"prototype":{"x":1}},"metadata":',
      ),
    },
  ])('answers $status to $what', async ({ status, body, type, path }) => {
    const answer = await post(body, type, path);
    expect(answer.status).toBe(status);
    if (status === 200) expect(JSON.parse(answer.body).response).toMatchObject({ uid: 'u1', allowed: true });
    else expect(JSON.parse(answer.body)).toMatchObject({ message: expect.stringMatching(/./) });
  });
});

describe.concurrent('who keeps the webhook port waiting', () => {
  test('closes connections whose request does not come in: headers, body, nothing at all', async () => {
    const slow = await Promise.all([
      say(drip(`${HEAD}Content-Length: 9999\r\n\r\n`), { everyMs: 200 }),
      say(drip(`${HEAD}X-Long: `), { everyMs: 200 }),
      say([`${HEAD}Content-Length: 9999\r\n\r\n{`], { end: true }),
      say([HEAD], { end: true }),
    ]);
    for (const text of slow) expect(text).toMatch(/^$|^HTTP\/1.1 4\d\d /);
  });

  test('serves who names another host, since whose certificate it is the asker checks', async () => {
    const request = `${HEAD}Content-Length: ${GOOD.length}\r\nConnection: close\r\n\r\n${GOOD}`;
    expect(await say([request], { servername: 'somebody.else.example' })).toMatch(/^HTTP\/1.1 200 /);
  });

  test('closes a connection that speaks no TLS', async () => {
    const socket = connectTcp(ips.webhookPort, '127.0.0.1');
    let closed = false;
    socket.on('error', () => {});
    socket.on('close', () => {
      closed = true;
    });
    socket.write(`${HEAD}\r\n`);
    await waitFor('the connection to be closed', async () => closed, { timeoutMs: CUT_OFF_MS });
  });

  test('ends HTTP/2 streams whose body does not come in, and whose answer is not taken', async () => {
    const closed: string[] = [];
    const slow = session();
    const dripping = slow.request({
      ':method': 'POST',
      ':path': '/mutate',
      'content-type': 'application/json',
    });
    dripping.on('error', () => {});
    dripping.on('close', () => closed.push('slow'));
    const timer = setInterval(() => dripping.destroyed || dripping.write('x'), 200);
    // No byte of an answer may be sent to this one.
    const deaf = session({ settings: { initialWindowSize: 0 } });
    const unread = deaf.request({
      ':method': 'POST',
      ':path': '/mutate',
      'content-type': 'application/json',
    });
    unread.on('error', () => {});
    unread.on('close', () => closed.push('deaf'));
    unread.end(GOOD);
    try {
      await waitFor('both streams to be closed', async () => closed.length === 2, { timeoutMs: CUT_OFF_MS });
    } finally {
      clearInterval(timer);
      slow.destroy();
      deaf.destroy();
    }
  });
});

describe('who overruns the webhook port', () => {
  test('has a limit of streams, and bears streams that are reset as fast as they are opened', async () => {
    const client = session();
    await waitFor('the settings', async () => client.remoteSettings?.maxConcurrentStreams === 250);
    for (let index = 0; index < 3_000 && !client.destroyed && !client.closed; index += 1) {
      const stream = client.request({ ':method': 'POST', ':path': '/mutate' });
      stream.on('error', () => {});
      stream.close(constants.NGHTTP2_CANCEL);
      if (index % 100 === 0) await sleep(1);
    }
    client.destroy();
    expect((await post(GOOD)).status).toBe(200);
  });

  test('bears many clients that connect and say nothing', async () => {
    let connected = 0;
    const idle = Array.from({ length: 100 }, () => {
      const socket = connectTls({ host: '127.0.0.1', port: ips.webhookPort, rejectUnauthorized: false });
      socket.on('error', () => {});
      socket.on('secureConnect', () => {
        connected += 1;
      });
      return socket;
    });
    await waitFor('all of them to be connected', async () => connected === idle.length, { everyMs: 50 });
    expect((await post(GOOD)).status).toBe(200);
    for (const socket of idle) socket.destroy();
  });
});

test('and all the while every apply was labelled, by the process that was there at first', async () => {
  expect(await busy.stop()).toBeGreaterThan(2);
  expect((await fetch(`${ips.url}/readyz`)).status).toBe(200);
});
