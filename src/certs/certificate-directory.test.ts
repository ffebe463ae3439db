import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAuthority, issueServingCertificate, type KeyPairPem } from './authority.ts';
import { readDirectory } from './certificate-directory.ts';
import { CertificateError } from './certificate-error.ts';
import type { ServingCertificate } from './certificate-source.ts';

const localhost = { dnsNames: ['localhost'], ipAddresses: [] };
const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };
const noNames = { dnsNames: [], ipAddresses: [] };
const dayMs = 24 * 60 * 60_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Serves it, and connects as a client that trusts nothing but its CA; tells which certificate was shown. */
async function servesItself({ cert, key, ca }: ServingCertificate): Promise<string | undefined> {
  const server = createServer({ cert, key });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca, servername: 'localhost' }, () => {
      resolve(socket.getPeerX509Certificate()?.fingerprint256);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

function fingerprint({ cert }: { cert: string }): string {
  return new X509Certificate(cert).fingerprint256;
}

describe('readDirectory', () => {
  const now = new Date();
  let first: ServingCertificate;
  let second: ServingCertificate;
  let stranger: ServingCertificate;
  let elsewhere: ServingCertificate;
  let directory: string;

  async function issued(authority: KeyPairPem, to = names): Promise<ServingCertificate> {
    const pair = await issueServingCertificate({ authority, ...to, now, validityDays: 365 });
    return { ...pair, ca: authority.cert };
  }

  beforeAll(async () => {
    const authority = await createAuthority({ commonName: 'Given CA', now, validityDays: 3650 });
    first = await issued(authority);
    second = await issued(authority);
    elsewhere = await issued(authority, { dnsNames: ['elsewhere'], ipAddresses: ['127.0.0.2'] });
    stranger = await issued(await createAuthority({ commonName: 'Given CA', now, validityDays: 3650 }));
  });

  beforeEach(() => {
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

  function start(at = now): Promise<ServingCertificate> {
    return readDirectory(directory, names, at);
  }

  function openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });
  }

  it('takes three files that belong together', async () => {
    write(first);
    expect(await start()).toEqual(first);
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
        'a certificate for other names',
        () => elsewhere,
        'IPS_CERT_NAME_MISSING',
        /tls\.crt is not for localhost, 127\.0\.0\.1, by which the API server calls us: issue it/,
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
      await expect(start(new Date(now.getTime() + days * dayMs))).rejects.toMatchObject({
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
      await expect(readDirectory(directory, noNames, new Date())).rejects.toMatchObject({
        code: 'IPS_CERT_CA_MISMATCH',
      });
      execFileSync('sh', ['-c', 'cat signing.crt >> ca.crt'], { cwd: directory });
      await readDirectory(directory, noNames, new Date());
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
      await expect(start(new Date(Date.now() + 2 * dayMs))).rejects.toMatchObject({
        code: 'IPS_CERT_CA_MISMATCH',
        message: expect.stringContaining('valid now'),
      });
    });
  });

  describe('takes what other tools write', () => {
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
      const current = await readDirectory(directory, localhost, new Date());
      expect(current.key).toContain('BEGIN EC PARAMETERS');
      expect(await servesItself(current)).toBe(fingerprint(current));
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
      await expect(readDirectory(directory, noNames, new Date())).rejects.toMatchObject({
        code: 'IPS_CERT_CA_MISMATCH',
      });
      execFileSync('sh', ['-c', 'cat middle.crt >> tls.crt'], { cwd: directory });
      const current = await readDirectory(directory, localhost, new Date());
      expect(await servesItself(current)).toBe(fingerprint(current));
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
      const current = await readDirectory(directory, localhost, new Date());
      expect(await servesItself(current)).toBe(fingerprint(current));
    });

    it('a bundle of CAs in which one signed it', async () => {
      write({ ...first, ca: stranger.ca + first.ca });
      expect((await start()).ca).toBe(stranger.ca + first.ca);
    });
  });
});
