import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2, createSecureServer } from 'node:http2';
import { createServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { fastify } from 'fastify';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAuthority, issueServingCertificate, type KeyPairPem } from './authority.ts';
import { certificatesIn } from './certificate.ts';
import { readDirectory } from './certificate-directory.ts';
import { type CertificateSource, followCertificate, type ServingCertificate } from './certificate-source.ts';

const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };
const now = new Date();
/** How often sources look in these tests, and how long a test waits to say that nothing happened. */
const intervalMs = 10;
const severalPollsMs = 150;

let first: ServingCertificate;
/** Of the same CA as the first. */
let second: ServingCertificate;
let stranger: ServingCertificate;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const onError = vi.fn();
const changes = vi.fn();
/** What is read, what CAs were asked to be published, and whether clients know them. */
let next: () => Promise<ServingCertificate>;
let required: string[];
let isSettled: (cert: string) => boolean;

beforeAll(async () => {
  const issued = async (authority: KeyPairPem): Promise<ServingCertificate> => {
    const pair = await issueServingCertificate({ authority, ...names, now, validityDays: 365 });
    return { ...pair, ca: authority.cert };
  };
  const authority = await createAuthority({ commonName: 'First CA', now, validityDays: 3650 });
  first = await issued(authority);
  second = await issued(authority);
  stranger = await issued(await createAuthority({ commonName: 'Other CA', now, validityDays: 3650 }));
});

beforeEach(() => {
  onError.mockReset();
  changes.mockReset();
  next = async () => first;
  isSettled = () => true;
});

function start(initial = first): CertificateSource {
  const trust = {
    require: (authorities: string[]) => {
      required = authorities;
    },
    isSettled: (cert: string) => isSettled(cert),
  };
  const times = { intervalMs, pendingMs: intervalMs };
  const source = followCertificate(initial, { read: () => next(), trust, ...times, onError });
  cleanups.push(() => source.close());
  source.onChange(changes);
  return source;
}

const severalPolls = () => new Promise((resolve) => setTimeout(resolve, severalPollsMs));

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

/** Connects as a client that trusts nothing but `ca`; tells which certificate the server showed. */
function presented(
  port: number,
  ca: string,
  alpn = 'http/1.1',
): Promise<{ fingerprint: string; alpn: unknown }> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, ca, servername: 'localhost', ALPNProtocols: [alpn] };
    const socket: TLSSocket = connect(options, () => {
      resolve({
        fingerprint: socket.getPeerX509Certificate()?.fingerprint256 ?? '',
        alpn: socket.alpnProtocol,
      });
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

function fingerprint({ cert }: { cert: string }): string {
  return new X509Certificate(cert).fingerprint256;
}

describe('what is served', () => {
  it('has its CA published from the start', () => {
    expect(start().current()).toBe(first);
    expect(required).toEqual(certificatesIn(first.ca));
  });

  it('is the new certificate of a CA that is known', async () => {
    const source = start();
    next = async () => second;
    await vi.waitFor(() => expect(changes).toHaveBeenCalled());
    await severalPolls();
    expect(changes).toHaveBeenCalledExactlyOnceWith(second);
    expect(source.current()).toBe(second);
  });

  it('is the old certificate until the new CA is known; both CAs are published meanwhile, the new one after', async () => {
    let known = false;
    isSettled = (cert) => known || cert === first.cert;
    const source = start();
    next = async () => stranger;
    await severalPolls();
    expect(source.current()).toBe(first);
    expect(required).toEqual(certificatesIn(first.ca + stranger.ca));
    expect(changes).not.toHaveBeenCalled();
    known = true;
    await vi.waitFor(() => expect(source.current()).toBe(stranger));
    expect(required).toEqual(certificatesIn(stranger.ca));
  });

  it('stays when the new one is taken back before its CA is known', async () => {
    isSettled = (cert) => cert === first.cert;
    const source = start();
    next = async () => stranger;
    await vi.waitFor(() => expect(required).toHaveLength(2));
    next = async () => first;
    await vi.waitFor(() => expect(required).toEqual(certificatesIn(first.ca)));
    expect(source.current()).toBe(first);
  });

  it('keeps its certificate where only a CA joins the bundle', async () => {
    const source = start();
    isSettled = () => false;
    next = async () => ({ ...first, ca: first.ca + stranger.ca });
    await vi.waitFor(() => expect(source.current().ca).toBe(first.ca + stranger.ca));
    expect(required).toEqual(certificatesIn(first.ca + stranger.ca));
  });

  it('stays where nothing can be read, which is said once, and again when it comes back', async () => {
    const source = start();
    for (const times of [1, 2]) {
      next = async () => Promise.reject(new Error('gone'));
      await vi.waitFor(() => expect(onError).toHaveBeenCalledTimes(times));
      await severalPolls();
      next = async () => first;
      await severalPolls();
    }
    expect(onError.mock.calls).toEqual([[new Error('gone')], [new Error('gone')]]);
    expect(source.current()).toBe(first);
  });

  it('is told to nobody while it stays the same', async () => {
    start();
    next = async () => ({ ...first });
    await severalPolls();
    expect([changes.mock.calls, onError.mock.calls]).toEqual([[], []]);
  });

  it('is told to the others where a listener throws', async () => {
    const source = start();
    const later = vi.fn();
    source.onChange(() => {
      throw new Error('refused by OpenSSL');
    });
    source.onChange(later);
    next = async () => second;
    await vi.waitFor(() => expect(later).toHaveBeenCalledOnce());
    expect(onError).toHaveBeenCalledExactlyOnceWith(new Error('refused by OpenSSL'));
  });

  it('changes no more once closed, even where it was being read', async () => {
    let give = (_: ServingCertificate) => {};
    const reading = new Promise<ServingCertificate>((resolve) => {
      give = resolve;
    });
    next = vi.fn(() => reading);
    const source = start();
    await vi.waitFor(() => expect(next).toHaveBeenCalled());
    source.close();
    give(second);
    await severalPolls();
    expect(source.current()).toBe(first);
    expect(next).toHaveBeenCalledOnce();
  });

  it('lets the process end', () => {
    const script = `import { followCertificate } from ${JSON.stringify(join(import.meta.dirname, 'certificate-source.ts'))};
      const trust = { require() {}, isSettled: () => true };
      const pair = { cert: '', key: '', ca: '' };
      followCertificate(pair, { read: async () => pair, trust, intervalMs: 60_000, onError: console.error });`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 15_000 });
    expect({ status: child.status, stderr: String(child.stderr) }).toEqual({ status: 0, stderr: '' });
  }, 20_000);
});

describe('a TLS server follows it without a restart', () => {
  async function renewed(source: CertificateSource): Promise<void> {
    next = async () => stranger;
    await vi.waitFor(() => expect(source.current()).toBe(stranger));
  }

  it.each([
    ['node:https', 'http/1.1', (pair: KeyPairPem) => createServer(pair)],
    ['node:http2', 'h2', (pair: KeyPairPem) => createSecureServer(pair)],
    [
      'node:http2 over HTTP/1.1',
      'http/1.1',
      (pair: KeyPairPem) => createSecureServer({ ...pair, allowHTTP1: true }),
    ],
  ])('%s', async (_, alpn, create) => {
    const source = start();
    const { cert, key, ca } = source.current();
    const server = create({ cert, key });
    source.onChange((pair) => server.setSecureContext({ cert: pair.cert, key: pair.key }));
    const port = await listening(server);

    expect(await presented(port, ca, alpn)).toEqual({ fingerprint: fingerprint(first), alpn });
    await renewed(source);
    expect(await presented(port, stranger.ca, alpn)).toEqual({ fingerprint: fingerprint(stranger), alpn });
    await expect(presented(port, ca, alpn)).rejects.toThrow(/unable to verify|self-signed/);
  });

  it('fastify, where a connection that is open stays so', async () => {
    const source = start();
    const { cert, key, ca } = source.current();
    const app = fastify({ http2: true, https: { allowHTTP1: true, cert, key } });
    app.get('/healthz', () => 'ok');
    source.onChange((pair) => app.server.setSecureContext({ cert: pair.cert, key: pair.key }));
    const url = await app.listen({ port: 0, host: '127.0.0.1' });
    cleanups.push(() => app.close());
    const session = connectHttp2(url, { ca });
    cleanups.push(() => session.close());
    const request = (): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const stream = session.request({ ':path': '/healthz' });
        stream.on('response', (headers) => resolve(headers[':status'])).on('error', reject);
        stream.resume().end();
      });

    expect(await request()).toBe(200);
    await renewed(source);
    expect(await request()).toBe(200);
    expect(await presented(Number(new URL(url).port), stranger.ca, 'h2')).toEqual({
      fingerprint: fingerprint(stranger),
      alpn: 'h2',
    });
  });
});

describe('files that change', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'ips-certs-'));
    cleanups.push(() => rmSync(directory, { recursive: true }));
    next = () => readDirectory(directory, names, now);
  });

  function write({ cert, key, ca }: Partial<ServingCertificate>, into = directory): void {
    for (const [name, content] of Object.entries({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca })) {
      if (content === undefined) continue;
      writeFileSync(join(into, 'new'), content);
      renameSync(join(into, 'new'), join(into, name));
    }
  }

  /** As the kubelet does: a new directory, then `..data` is renamed over; `tls.crt` and the others point through it. */
  function mountSecret(version: string, content: ServingCertificate): void {
    mkdirSync(join(directory, version));
    write(content, join(directory, version));
    symlinkSync(version, join(directory, '..data_tmp'));
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
  }

  it('a Secret that the kubelet swapped in is taken', async () => {
    mountSecret('..2026_01', first);
    for (const name of ['tls.crt', 'tls.key', 'ca.crt'])
      symlinkSync(join('..data', name), join(directory, name));
    const source = start(await next());
    mountSecret('..2026_02', stranger);
    rmSync(join(directory, '..2026_01'), { recursive: true });
    await vi.waitFor(() => expect(source.current()).toEqual(stranger));
  });

  it('a pair that is half written is not taken, which is said once, until it is whole', async () => {
    write(first);
    const source = start(await next());
    write({ cert: second.cert });
    await vi.waitFor(() => expect(onError).toHaveBeenCalled());
    await severalPolls();
    expect(onError).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ code: 'IPS_CERT_KEY_MISMATCH' }),
    );
    expect(source.current()).toEqual(first);

    write({ key: second.key });
    await vi.waitFor(() => expect(changes).toHaveBeenCalled());
    expect(changes).toHaveBeenCalledExactlyOnceWith(second);
  });
});
