import { execFileSync, spawnSync } from 'node:child_process';
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
import { CertificateError } from './certificate-error.ts';
import {
  type CertificateSource,
  directorySource,
  ownAuthoritySource,
  type ServingCertificate,
} from './certificate-source.ts';

const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };
const dayMs = 24 * 60 * 60_000;
/** How often sources look in these tests, and how long a test waits to say that nothing happened. */
const intervalMs = 10;
const severalPollsMs = 150;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function closing(source: CertificateSource): CertificateSource {
  cleanups.push(() => source.close());
  return source;
}

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

describe('ownAuthoritySource', () => {
  let clock: Date;
  const onError = vi.fn();
  const changes = vi.fn();

  beforeEach(() => {
    clock = new Date();
    onError.mockReset();
    changes.mockReset();
  });

  async function start(): Promise<CertificateSource> {
    const options = { ...names, onError, now: () => clock, checkIntervalMs: intervalMs };
    const source = closing(await ownAuthoritySource(options));
    source.onChange(changes);
    return source;
  }

  it('makes a CA for 10 years and a serving certificate for 1', async () => {
    const { cert, ca } = (await start()).current();
    const second = Math.floor(clock.getTime() / 1000) * 1000;
    expect(new X509Certificate(ca).validToDate.getTime()).toBe(second + 3650 * dayMs);
    expect(new X509Certificate(cert).validToDate.getTime()).toBe(second + 365 * dayMs);
  });

  it('keeps the serving certificate until two thirds of its life are over', async () => {
    const source = await start();
    const before = source.current();
    clock = new Date(clock.getTime() + 243 * dayMs);
    await new Promise((resolve) => setTimeout(resolve, severalPollsMs));
    expect(source.current()).toBe(before);
    expect(changes).not.toHaveBeenCalled();
  });

  it.each([
    ['at two thirds of its life', 243.5],
    ['when the machine slept until the certificate had long expired', 500],
  ])('renews once, under the same CA, %s', async (_, days) => {
    const source = await start();
    const before = source.current();
    clock = new Date(clock.getTime() + days * dayMs);
    await vi.waitFor(() => expect(changes).toHaveBeenCalled(), 5_000);
    await new Promise((resolve) => setTimeout(resolve, severalPollsMs));
    expect(changes).toHaveBeenCalledExactlyOnceWith(source.current());
    const after = source.current();
    expect(after.ca).toBe(before.ca);
    expect(after.key).not.toBe(before.key);
    expect(new X509Certificate(after.cert).verify(new X509Certificate(after.ca).publicKey)).toBe(true);
    expect(new X509Certificate(after.cert).validToDate > clock).toBe(true);
    expect(onError).not.toHaveBeenCalled();
  });

  it('says once that it cannot renew, and keeps what it has', async () => {
    const source = await start();
    const before = source.current();
    clock = new Date(clock.getTime() + 4000 * dayMs);
    await vi.waitFor(() => expect(onError).toHaveBeenCalled());
    await new Promise((resolve) => setTimeout(resolve, severalPollsMs));
    expect(onError).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ code: 'IPS_CERT_AUTHORITY_EXPIRED' }),
    );
    expect(source.current()).toBe(before);
  });

  it('changes nothing more once closed, even while it renews', async () => {
    const source = await start();
    clock = new Date(clock.getTime() + 300 * dayMs);
    await new Promise((resolve) => setTimeout(resolve, 2 * intervalMs));
    const before = source.current();
    changes.mockReset();
    source.close();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(source.current()).toBe(before);
    expect(changes).not.toHaveBeenCalled();
  });

  it('reports a listener that throws, and tells the others', async () => {
    const source = closing(
      await ownAuthoritySource({ ...names, onError, now: () => clock, checkIntervalMs: intervalMs }),
    );
    source.onChange(() => {
      throw new Error('refused by OpenSSL');
    });
    source.onChange(changes);
    clock = new Date(clock.getTime() + 300 * dayMs);
    await vi.waitFor(() => expect(changes).toHaveBeenCalledOnce(), 5_000);
    expect(onError).toHaveBeenCalledExactlyOnceWith(new Error('refused by OpenSSL'));
  });

  it('lets the process end', () => {
    const script = `import { ownAuthoritySource } from ${JSON.stringify(join(import.meta.dirname, 'certificate-source.ts'))};
      await ownAuthoritySource({ dnsNames: ['localhost'], ipAddresses: [], onError: console.error });`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 15_000 });
    expect({ status: child.status, stderr: String(child.stderr) }).toEqual({ status: 0, stderr: '' });
  }, 20_000);

  describe('a TLS server follows it without a restart', () => {
    // Clients go by the real clock, so it is the first certificate that is made in another time.
    beforeEach(() => {
      clock = new Date(Date.now() - 300 * dayMs);
    });

    async function renewed(source: CertificateSource): Promise<void> {
      const before = source.current();
      clock = new Date();
      await vi.waitFor(() => expect(source.current()).not.toBe(before), 5_000);
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
      const source = await start();
      const { cert, key, ca } = source.current();
      const server = create({ cert, key });
      source.onChange((next) => server.setSecureContext({ cert: next.cert, key: next.key }));
      const port = await listening(server);

      expect(await presented(port, ca, alpn)).toEqual({ fingerprint: fingerprint({ cert }), alpn });
      await renewed(source);
      expect(await presented(port, ca, alpn)).toEqual({ fingerprint: fingerprint(source.current()), alpn });
      expect(fingerprint(source.current())).not.toBe(fingerprint({ cert }));
      const stranger = await createAuthority({ commonName: 'Stranger', now: clock, validityDays: 1 });
      await expect(presented(port, stranger.cert, alpn)).rejects.toThrow(/unable to verify|self-signed/);
    });

    it('fastify, where a connection that is open stays so', async () => {
      const source = await start();
      const { cert, key, ca } = source.current();
      const app = fastify({ http2: true, https: { allowHTTP1: true, cert, key } });
      app.get('/healthz', () => 'ok');
      source.onChange((next) => app.server.setSecureContext({ cert: next.cert, key: next.key }));
      const url = await app.listen({ port: 0, host: '127.0.0.1' });
      cleanups.push(() => app.close());
      const port = Number(new URL(url).port);
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
      expect(await presented(port, ca, 'h2')).toEqual({
        fingerprint: fingerprint(source.current()),
        alpn: 'h2',
      });
    });
  });
});

describe('directorySource', () => {
  const now = new Date();
  let first: ServingCertificate;
  let second: ServingCertificate;
  let stranger: ServingCertificate;
  let directory: string;
  const onError = vi.fn();

  async function issued(authority: KeyPairPem, at = now): Promise<ServingCertificate> {
    const pair = await issueServingCertificate({ authority, ...names, now: at, validityDays: 365 });
    return { ...pair, ca: authority.cert };
  }

  beforeAll(async () => {
    const authority = await createAuthority({ commonName: 'Given CA', now, validityDays: 3650 });
    first = await issued(authority);
    second = await issued(authority);
    stranger = await issued(await createAuthority({ commonName: 'Given CA', now, validityDays: 3650 }));
  });

  beforeEach(() => {
    onError.mockReset();
    directory = mkdtempSync(join(tmpdir(), 'ips-certs-'));
    cleanups.push(() => rmSync(directory, { recursive: true }));
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

  async function start(clock = (): Date => now): Promise<CertificateSource> {
    return closing(await directorySource({ directory, onError, now: clock, pollIntervalMs: intervalMs }));
  }

  function openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });
  }

  it('takes three files that belong together', async () => {
    write(first);
    expect((await start()).current()).toEqual(first);
  });

  describe('at start, one error names the file, the fault and the remedy', () => {
    const cases: [string, () => Partial<ServingCertificate>, string, RegExp][] = [
      [
        'no certificate',
        () => ({ ...first, cert: undefined }),
        'IPS_CERT_UNREADABLE',
        /tls\.crt cannot be read \(ENOENT\).*must hold/,
      ],
      [
        'no key',
        () => ({ ...first, key: undefined }),
        'IPS_CERT_UNREADABLE',
        /tls\.key cannot be read \(ENOENT\).*must hold/,
      ],
      [
        'no CA',
        () => ({ ...first, ca: undefined }),
        'IPS_CERT_UNREADABLE',
        /ca\.crt cannot be read \(ENOENT\).*must hold/,
      ],
      [
        'an empty directory: always the same file',
        () => ({}),
        'IPS_CERT_UNREADABLE',
        /tls\.crt cannot be read/,
      ],
      [
        'a certificate that is not PEM',
        () => ({ ...first, cert: '0\x82\x03' }),
        'IPS_CERT_NOT_PEM',
        /tls\.crt does not hold a PEM certificate: write/,
      ],
      [
        'a broken certificate',
        () => ({ ...first, cert: first.cert.replace(/\nMII/, '\nXII') }),
        'IPS_CERT_NOT_PEM',
        /tls\.crt does not hold a PEM certificate/,
      ],
      [
        'a CA that is not PEM',
        () => ({ ...first, ca: '' }),
        'IPS_CERT_NOT_PEM',
        /ca\.crt does not hold a PEM certificate/,
      ],
      [
        'a key that is not PEM',
        () => ({ ...first, key: first.cert }),
        'IPS_CERT_NOT_PEM',
        /tls\.key does not hold a PEM private key without/,
      ],
      [
        'the key of another certificate',
        () => ({ ...first, key: second.key }),
        'IPS_CERT_KEY_MISMATCH',
        /tls\.key is not the key of the certificate in .*tls\.crt: put/,
      ],
      [
        'a CA of the same name that did not sign it',
        () => ({ ...first, ca: stranger.ca }),
        'IPS_CERT_CA_MISMATCH',
        /ca\.crt holds no certificate.* signed .*tls\.crt: put/,
      ],
    ];

    it.each(cases)('%s', async (_, content, code, message) => {
      write(content());
      const error = await start().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(CertificateError);
      expect(error).toMatchObject({ code, message: expect.stringMatching(message), retryable: true });
      expect(String(error)).toContain(directory);
    });

    it.each([
      ['an expired certificate', 366],
      ['a certificate that is not valid yet', -1],
    ])('%s', async (_, days) => {
      write(first);
      await expect(start(() => new Date(now.getTime() + days * dayMs))).rejects.toMatchObject({
        code: 'IPS_CERT_NOT_VALID_NOW',
        message: expect.stringMatching(/tls\.crt is valid from .* to .* not now: renew it/),
      });
    });

    it('a key with a passphrase', async () => {
      write(first);
      openssl('pkcs8', '-topk8', '-in', 'tls.key', '-passout', 'pass:secret', '-out', 'locked.key');
      renameSync(join(directory, 'locked.key'), join(directory, 'tls.key'));
      await expect(start()).rejects.toMatchObject({ code: 'IPS_CERT_NOT_PEM' });
    });

    it.each([
      ['rsa:2048', 'rsa:2048'],
      ['rsa:2048', 'ed25519'],
    ])('a CA of the same name, where no key identifiers tell them apart (%s, %s)', async (signing, other) => {
      const make = (algorithm: string, name: string): void => {
        const options = ['-newkey', algorithm, '-nodes', '-subj', '/CN=Same CA'];
        const bare = ['-addext', 'subjectKeyIdentifier=none', '-addext', 'authorityKeyIdentifier=none'];
        openssl('req', '-x509', ...options, ...bare, '-keyout', `${name}.key`, '-out', `${name}.crt`);
      };
      make(signing, 'signing');
      make(other, 'ca');
      openssl(
        'req',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-subj',
        '/CN=leaf',
        '-keyout',
        'tls.key',
        '-out',
        'tls.csr',
      );
      const ca = ['-CA', 'signing.crt', '-CAkey', 'signing.key', '-CAcreateserial'];
      openssl('x509', '-req', '-in', 'tls.csr', ...ca, '-out', 'tls.crt');
      await expect(directorySource({ directory, onError })).rejects.toMatchObject({
        code: 'IPS_CERT_CA_MISMATCH',
      });
      execFileSync('sh', ['-c', 'cat signing.crt >> ca.crt'], { cwd: directory });
      closing(await directorySource({ directory, onError }));
    });

    it('an expired CA', async () => {
      const options = ['-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=Old CA'];
      openssl('req', '-x509', ...options, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '1');
      openssl('req', ...options.slice(0, 3), '-subj', '/CN=leaf', '-keyout', 'tls.key', '-out', 'tls.csr');
      openssl(
        'x509',
        '-req',
        '-in',
        'tls.csr',
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-days',
        '9',
        '-out',
        'tls.crt',
      );
      await expect(start(() => new Date(Date.now() + 2 * dayMs))).rejects.toMatchObject({
        code: 'IPS_CERT_CA_MISMATCH',
        message: expect.stringContaining('valid now'),
      });
    });
  });

  describe('takes what other tools write', () => {
    function servesItself({ cert, key, ca }: ServingCertificate): Promise<unknown> {
      return listening(createServer({ cert, key })).then((port) => presented(port, ca));
    }

    it('EC keys in SEC 1 form, with parameters before the key', async () => {
      openssl('ecparam', '-name', 'prime256v1', '-genkey', '-out', 'ca.key');
      openssl('req', '-x509', '-key', 'ca.key', '-subj', '/CN=EC CA', '-out', 'ca.crt');
      openssl('ecparam', '-name', 'prime256v1', '-genkey', '-out', 'tls.key');
      openssl(
        'req',
        '-new',
        '-key',
        'tls.key',
        '-subj',
        '/CN=leaf',
        '-addext',
        'subjectAltName=DNS:localhost',
        '-out',
        'tls.csr',
      );
      openssl(
        'x509',
        '-req',
        '-in',
        'tls.csr',
        '-copy_extensions',
        'copy',
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-out',
        'tls.crt',
      );
      const current = closing(await directorySource({ directory, onError })).current();
      expect(current.key).toContain('BEGIN EC PARAMETERS');
      expect(await servesItself(current)).toMatchObject({ fingerprint: fingerprint(current) });
    });

    it('a chain with an intermediate, trusted by its root', async () => {
      const subject = ['-newkey', 'rsa:2048', '-nodes', '-subj'];
      writeFileSync(join(directory, 'ca.ext'), 'basicConstraints=critical,CA:TRUE');
      openssl('req', '-x509', ...subject, '/CN=Root', '-keyout', 'root.key', '-out', 'ca.crt');
      openssl('req', ...subject, '/CN=Middle', '-keyout', 'middle.key', '-out', 'middle.csr');
      openssl(
        'x509',
        '-req',
        '-in',
        'middle.csr',
        '-extfile',
        'ca.ext',
        '-CA',
        'ca.crt',
        '-CAkey',
        'root.key',
        '-CAcreateserial',
        '-out',
        'middle.crt',
      );
      openssl(
        'req',
        ...subject,
        '/CN=leaf',
        '-addext',
        'subjectAltName=DNS:localhost',
        '-keyout',
        'tls.key',
        '-out',
        'tls.csr',
      );
      openssl(
        'x509',
        '-req',
        '-in',
        'tls.csr',
        '-copy_extensions',
        'copy',
        '-CA',
        'middle.crt',
        '-CAkey',
        'middle.key',
        '-CAcreateserial',
        '-out',
        'tls.crt',
      );
      await expect(directorySource({ directory, onError })).rejects.toMatchObject({
        code: 'IPS_CERT_CA_MISMATCH',
      });
      execFileSync('sh', ['-c', 'cat middle.crt >> tls.crt'], { cwd: directory });
      const current = closing(await directorySource({ directory, onError })).current();
      expect(await servesItself(current)).toMatchObject({ fingerprint: fingerprint(current) });
    });

    it('a self-signed certificate as its own CA', async () => {
      openssl(
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost',
        '-keyout',
        'tls.key',
        '-out',
        'tls.crt',
      );
      openssl('x509', '-in', 'tls.crt', '-text', '-out', 'ca.crt');
      const current = closing(await directorySource({ directory, onError })).current();
      expect(await servesItself(current)).toMatchObject({ fingerprint: fingerprint(current) });
    });

    it('a bundle of CAs in which one signed it', async () => {
      write({ ...first, ca: stranger.ca + first.ca });
      expect((await start()).current().ca).toBe(stranger.ca + first.ca);
    });
  });

  describe('when the files change', () => {
    it('serves a Secret that the kubelet swapped in to new connections', async () => {
      mountSecret('..2026_01', first);
      for (const name of ['tls.crt', 'tls.key', 'ca.crt'])
        symlinkSync(join('..data', name), join(directory, name));
      const source = await start();
      const { cert, key, ca } = source.current();
      const server = createServer({ cert, key });
      source.onChange((next) => server.setSecureContext({ cert: next.cert, key: next.key }));
      const port = await listening(server);
      expect(await presented(port, ca)).toMatchObject({ fingerprint: fingerprint(first) });

      mountSecret('..2026_02', stranger);
      rmSync(join(directory, '..2026_01'), { recursive: true });
      await vi.waitFor(() => expect(source.current()).toEqual(stranger));
      expect(await presented(port, stranger.ca)).toMatchObject({ fingerprint: fingerprint(stranger) });
      await expect(presented(port, ca)).rejects.toThrow();
    });

    it('keeps the old pair while the new one is half written, says so once, and takes it when whole', async () => {
      write(first);
      const source = await start();
      const changes = vi.fn();
      source.onChange(changes);

      write({ cert: second.cert });
      await vi.waitFor(() => expect(onError).toHaveBeenCalled());
      await new Promise((resolve) => setTimeout(resolve, severalPollsMs));
      expect(onError).toHaveBeenCalledExactlyOnceWith(
        expect.objectContaining({ code: 'IPS_CERT_KEY_MISMATCH' }),
      );
      expect(source.current()).toEqual(first);

      write({ key: second.key });
      await vi.waitFor(() => expect(changes).toHaveBeenCalled());
      expect(changes).toHaveBeenCalledExactlyOnceWith(second);
      expect(source.current()).toEqual(second);
    });

    it('says it again when the same fault comes back after it was mended', async () => {
      write(first);
      await start();
      for (const times of [1, 2]) {
        rmSync(join(directory, 'tls.key'));
        await vi.waitFor(() => expect(onError).toHaveBeenCalledTimes(times));
        write(first);
        await new Promise((resolve) => setTimeout(resolve, severalPollsMs));
      }
      expect(onError).toHaveBeenCalledTimes(2);
    });

    it('tells of a CA that joins the bundle while the certificate stays', async () => {
      write(first);
      const source = await start();
      write({ ca: first.ca + stranger.ca });
      await vi.waitFor(() => expect(source.current()).toEqual({ ...first, ca: first.ca + stranger.ca }));
    });

    it('says once that the certificate in use has expired', async () => {
      let clock = now;
      write(first);
      const source = await start(() => clock);
      clock = new Date(now.getTime() + 366 * dayMs);
      await vi.waitFor(() => expect(onError).toHaveBeenCalled());
      await new Promise((resolve) => setTimeout(resolve, severalPollsMs));
      expect(onError).toHaveBeenCalledExactlyOnceWith(
        expect.objectContaining({ code: 'IPS_CERT_NOT_VALID_NOW' }),
      );
      expect(source.current()).toEqual(first);
    });

    it('tells nobody while they stay the same', async () => {
      write(first);
      const source = await start();
      const changes = vi.fn();
      source.onChange(changes);
      write(first);
      await new Promise((resolve) => setTimeout(resolve, severalPollsMs));
      expect([changes.mock.calls, onError.mock.calls]).toEqual([[], []]);
    });

    it('is deaf once closed', async () => {
      write(first);
      const source = await start();
      source.close();
      write(second);
      await new Promise((resolve) => setTimeout(resolve, severalPollsMs));
      expect(source.current()).toEqual(first);
    });
  });
});
