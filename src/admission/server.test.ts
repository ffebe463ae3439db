import type { IncomingHttpHeaders } from 'node:http';
import { type ClientHttp2Session, connect } from 'node:http2';
import { Agent, request as httpsRequest } from 'node:https';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createAuthority, issueServingCertificate } from '../certs/authority.ts';
import type { CertificateSource, ServingCertificate } from '../certs/certificate-source.ts';
import { workloadTypes } from '../domain/workload-types.ts';
import { createAdmissionServer } from './server.ts';

const REVIEW = JSON.stringify({
  request: {
    uid: 'u1',
    kind: { group: 'apps', version: 'v1', kind: 'Deployment' },
    namespace: 'shop',
    object: { metadata: { annotations: { 'ips/prewarm': 'true' }, labels: {} } },
  },
});
const NAMES = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };

let certificates: CertificateSource;

beforeAll(async () => {
  certificates = sourceOf(await newCertificate());
});

async function newCertificate(): Promise<ServingCertificate> {
  const now = new Date();
  const authority = await createAuthority({ commonName: 'Test CA', now, validityDays: 2 });
  const pair = await issueServingCertificate({ authority, ...NAMES, now, validityDays: 1 });
  return { ...pair, ca: authority.cert };
}

/** A source whose certificate the test changes. */
function sourceOf(first: ServingCertificate): CertificateSource & { change(next: ServingCertificate): void } {
  const listeners: ((certificate: ServingCertificate) => void)[] = [];
  let current = first;
  return {
    current: () => current,
    onChange: (listener) => void listeners.push(listener),
    close() {},
    change(next) {
      current = next;
      for (const listener of listeners) listener(next);
    },
  };
}

async function start(source = certificates, drainMs = 0) {
  const server = createAdmissionServer({
    ...{ certificates: source, drainMs },
    types: workloadTypes([]),
    excludedNamespaces: [],
    observe() {},
  });
  const address = await server.listen({ port: 0, host: '127.0.0.1' });
  onTestFinished(() => server.close());
  return { server, port: Number(new URL(address).port), ca: source.current().ca };
}

function openSession(port: number, ca: string): ClientHttp2Session {
  const session = connect(`https://localhost:${port}`, { ca });
  session.on('error', () => {});
  onTestFinished(() => session.destroy());
  return session;
}

type Answer = { status: number | undefined; body: string; headers?: IncomingHttpHeaders };

/** Posts in two parts; the second waits for `meanwhile`. */
function post2(session: ClientHttp2Session, body: string, meanwhile?: Promise<unknown>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/mutate?timeout=2s',
      'content-type': 'application/json',
    });
    let text = '';
    let status: number | undefined;
    stream.setEncoding('utf8');
    stream.on('response', (headers) => {
      status = headers[':status'];
    });
    stream.on('data', (part: string) => {
      text += part;
    });
    stream.on('end', () => resolve({ status, body: text }));
    stream.on('error', reject);
    stream.write(body.slice(0, 10));
    void Promise.resolve(meanwhile).then(() => stream.end(body.slice(10)));
  });
}

function post1(port: number, ca: string, body: string, agent?: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const options = { method: 'POST', path: '/mutate', host: 'localhost', port, ca, headers };
    const request = httpsRequest({ ...options, ...(agent ? { agent } : {}) }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode, body: text, headers: response.headers }),
      );
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Which certificate, and which protocol, a new connection gets. */
function greeted(port: number, ca: string, protocol: string): Promise<{ serial: string; protocol: unknown }> {
  return new Promise((resolve, reject) => {
    const options = { host: 'localhost', port, ca, servername: 'localhost', ALPNProtocols: [protocol] };
    const socket: TLSSocket = connectTls(options, () => {
      resolve({
        serial: socket.getPeerX509Certificate()?.serialNumber ?? '',
        protocol: socket.alpnProtocol,
      });
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

async function secondsOf(work: Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work;
  return (performance.now() - started) / 1000;
}

function expectLabelled({ status, body }: Answer): void {
  expect(status).toBe(200);
  expect(JSON.parse(body).response).toMatchObject({ uid: 'u1', allowed: true, patchType: 'JSONPatch' });
}

describe('the admission server', () => {
  it('answers over HTTP/2, many at once on one connection', async () => {
    const { port, ca } = await start();
    const session = openSession(port, ca);
    const answers = await Promise.all(Array.from({ length: 50 }, () => post2(session, REVIEW)));
    for (const answer of answers) expectLabelled(answer);
  });

  it('answers over HTTP/1.1 on the same port', async () => {
    const { port, ca } = await start();
    expectLabelled(await post1(port, ca, REVIEW));
    expect(await greeted(port, ca, 'http/1.1')).toMatchObject({ protocol: 'http/1.1' });
    expect(await greeted(port, ca, 'h2')).toMatchObject({ protocol: 'h2' });
  });

  it.each<{ megabytes: number; status: number }>([
    { megabytes: 3, status: 200 },
    { megabytes: 5, status: 413 },
  ])('answers a review of $megabytes MB with $status', async ({ megabytes, status }) => {
    const { port, ca } = await start();
    const review = JSON.parse(REVIEW);
    review.request.oldObject = { data: 'x'.repeat(megabytes * 1_000_000) };
    const body = JSON.stringify(review);
    expect((await post1(port, ca, body)).status).toBe(status);
    expect((await post2(openSession(port, ca), body)).status).toBe(status);
  });

  it('takes __proto__ and constructor for keys like any other', async () => {
    const { port, ca } = await start();
    const odd = '"__proto__":{"ips/prewarm":"false"},"constructor":{"prototype":{"x":"y"}}';
    const body = REVIEW.replace('"labels":{}', `"labels":{${odd}},${odd}`).replace('"uid"', `${odd},"uid"`);
    expectLabelled(await post1(port, ca, body));
  });

  it.each(['[', '{"a":'])('answers a review that is nested 100,000 levels deep by %s', async (open) => {
    const { port, ca } = await start();
    const levels = 100_000;
    const deep = `${open.repeat(levels)}${open === '[' ? '' : '1'}${(open === '[' ? ']' : '}').repeat(levels)}`;
    const spec = `"spec":{"template":{"spec":{"containers":[${deep}],"nodeSelector":${deep}}}}`;
    expectLabelled(await post1(port, ca, REVIEW.replace('"labels":{}}', `"labels":{}},${spec}`)));
  });

  it('keeps an idle connection of HTTP/1.1 for longer than the API server does, which is 90 s', async () => {
    const { port, ca } = await start();
    const agent = new Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    const { headers } = await post1(port, ca, REVIEW, agent);
    expect(Number(/timeout=(\d+)/.exec(String(headers?.['keep-alive']))?.[1])).toBeGreaterThan(90);
  });

  it('resets a connection of HTTP/1.1 that was opened ahead and not used: an answer would be taken for that of a call', async () => {
    const { port, ca } = await start();
    const socket = connectTls({ host: 'localhost', port, ca, ALPNProtocols: ['http/1.1'] });
    let told = '';
    socket.on('data', (part) => {
      told += part;
    });
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      socket.on('error', resolve);
      socket.on('close', () => resolve(undefined));
    });
    expect([told, error?.code]).toEqual(['', 'ECONNRESET']);
  });

  it('answers what is no request of HTTP/1.1 with 400', async () => {
    const { port, ca } = await start();
    const socket = connectTls({ host: 'localhost', port, ca, ALPNProtocols: ['http/1.1'] });
    socket.write('no request\r\n\r\n');
    let told = '';
    for await (const part of socket) told += part;
    expect(told).toMatch(/^HTTP\/1.1 400 /);
  });

  it('is trusted by nobody who does not know its authority', async () => {
    const { port } = await start();
    const other = await newCertificate();
    await expect(post1(port, other.ca, REVIEW)).rejects.toThrow(/certificate|issuer|signature/i);
  });

  it('shows a renewed certificate to new connections, and goes on with those that are open', async () => {
    const source = sourceOf(await newCertificate());
    const { port, ca } = await start(source);
    const session = openSession(port, ca);
    expectLabelled(await post2(session, REVIEW));
    const before = await greeted(port, ca, 'h2');
    const next = await newCertificate();
    source.change(next);
    const after = await greeted(port, next.ca, 'h2');
    expect(after.serial).not.toBe(before.serial);
    expect(after.protocol).toBe('h2');
    expectLabelled(await post2(session, REVIEW));
    expectLabelled(await post1(port, next.ca, REVIEW));
  });
});

describe('at the end, the admission server', () => {
  it('goes on for a while for those that do not know it yet, and tells each to go elsewhere', async () => {
    const { server, port, ca } = await start(certificates, 3_000);
    const agent = new Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    const session = openSession(port, ca);
    await post2(session, REVIEW);
    const before = await post1(port, ca, REVIEW, agent);
    expect(before.headers?.connection).toBe('keep-alive');

    const goaway = new Promise((resolve) => session.once('goaway', resolve));
    let isClosed = false;
    const closed = server.close().then(() => {
      isClosed = true;
    });
    await goaway;
    for (const each of [undefined, agent]) {
      const answer = await post1(port, ca, REVIEW, each);
      expectLabelled(answer);
      expect(answer.headers?.connection).toBe('close');
    }
    const late = openSession(port, ca);
    expectLabelled(await post2(late, REVIEW));
    expect(isClosed).toBe(false);
    await closed;
    await expect(post1(port, ca, REVIEW)).rejects.toThrow(/ECONNREFUSED/);
  });

  it('does not wait for connections that are open and idle', async () => {
    const { server, port, ca } = await start();
    const agent = new Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    await post1(port, ca, REVIEW, agent);
    await post2(openSession(port, ca), REVIEW);
    expect(await secondsOf(server.close())).toBeLessThan(1);
  });

  it('resets what is idle, so that a call that begins just then is known not to have arrived', async () => {
    const { server, port, ca } = await start();
    const socket = connectTls({ port, host: 'localhost', ca, ALPNProtocols: ['http/1.1'] });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    const error = new Promise((resolve) => socket.once('error', resolve));
    await server.close();
    expect(await error).toMatchObject({ code: 'ECONNRESET' });
  });

  it('answers what is in flight', async () => {
    const { server, port, ca } = await start();
    const session = openSession(port, ca);
    await post2(session, REVIEW);
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const answer = post2(session, REVIEW, held);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const closed = server.close();
    setTimeout(release, 200);
    expectLabelled(await answer);
    await closed;
  });

  it('answers or lets go of each call of a caller that goes on, and refuses none', async () => {
    const { server, port, ca } = await start();
    const session = openSession(port, ca);
    const goaway = new Promise((resolve) => session.once('goaway', resolve));
    await post2(session, REVIEW);
    const answers: Promise<Answer | undefined>[] = [];
    // As the API server: until it is told to go elsewhere, it calls on.
    const timer = setInterval(() => {
      if (!session.closed) answers.push(post2(session, REVIEW).catch(() => undefined));
    }, 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const closed = server.close();
    await goaway;
    clearInterval(timer);
    await closed;
    const statuses = (await Promise.all(answers)).map((answer) => answer?.status);
    // Without an answer the caller asks another replica; a 503 it would take for one.
    expect(new Set(statuses.filter((status) => status !== undefined))).toEqual(new Set([200]));
  });

  it('does not wait for one that left in the middle of a request of HTTP/1.1', async () => {
    const { server, port, ca } = await start();
    const socket = connectTls({ port, host: 'localhost', ca, ALPNProtocols: ['http/1.1'] });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    socket.write(
      'POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await secondsOf(server.close())).toBeLessThan(1);
  });

  it('does not wait for an asker that has gone away', async () => {
    const { server, port, ca } = await start();
    const session = openSession(port, ca);
    await post2(session, REVIEW);
    post2(session, REVIEW, new Promise(() => {})).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 50));
    session.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await secondsOf(server.close())).toBeLessThan(1);
  });
});
