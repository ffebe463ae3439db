import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthority, issueServingCertificate, type KeyPairPem } from './authority.ts';

const now = new Date('2026-03-01T12:00:00.000Z');
const dayMs = 24 * 60 * 60_000;
const names = {
  dnsNames: ['ips.ips-system.svc', 'localhost'],
  ipAddresses: ['127.0.0.1', '::1', 'fd00::12:3'],
};

let directory: string;
let authority: KeyPairPem;
let serving: KeyPairPem;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ips-authority-'));
  authority = await createAuthority({ commonName: 'Test CA', now, validityDays: 3650 });
  serving = await issueServingCertificate({ authority, ...names, now, validityDays: 365 });
});
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function verify(ca: string, cert: string, at: Date, ...more: string[]): { ok: boolean; output: string } {
  const time = String(Math.floor(at.getTime() / 1000));
  const files = ['-CAfile', file('ca.crt', ca), file('tls.crt', cert)];
  const options = ['-x509_strict', '-check_ss_sig', '-no-CApath', '-no-CAstore', '-attime', time, ...more];
  const run = spawnSync('openssl', ['verify', ...options, ...files], { encoding: 'utf8' });
  return { ok: run.status === 0, output: run.stdout + run.stderr };
}

function text(cert: string): string {
  return execFileSync('openssl', ['x509', '-noout', '-text'], { input: cert, encoding: 'utf8' });
}

function dates(pair: KeyPairPem): { from: Date; to: Date } {
  const { validFromDate: from, validToDate: to } = new X509Certificate(pair.cert);
  return { from, to };
}

describe('openssl verify -x509_strict', () => {
  it.each([
    ['accepts it for a TLS server', ['-purpose', 'sslserver'], true],
    ['accepts its first DNS name', ['-verify_hostname', 'ips.ips-system.svc'], true],
    ['accepts its second DNS name', ['-verify_hostname', 'localhost'], true],
    ['accepts its IPv4 address', ['-verify_ip', '127.0.0.1'], true],
    ['accepts its IPv6 loopback address', ['-verify_ip', '::1'], true],
    ['accepts its other IPv6 address', ['-verify_ip', 'fd00::12:3'], true],
    ['refuses a name it does not carry', ['-verify_hostname', 'other.ips-system.svc'], false],
    ['refuses an address it does not carry', ['-verify_ip', '127.0.0.2'], false],
    ['refuses it for a TLS client', ['-purpose', 'sslclient'], false],
  ])('%s', (_, options, accepted) => {
    expect(verify(authority.cert, serving.cert, now, ...options)).toMatchObject({ ok: accepted });
  });

  it('accepts the CA itself', () => {
    expect(verify(authority.cert, authority.cert, now, '-purpose', 'crlsign')).toMatchObject({ ok: true });
  });

  it('refuses it under another CA of the same name', async () => {
    const other = await createAuthority({ commonName: 'Test CA', now, validityDays: 3650 });
    expect(verify(other.cert, serving.cert, now)).toMatchObject({ ok: false });
  });

  it('accepts certificates of either CA when old and new stand side by side', async () => {
    const next = await createAuthority({ commonName: 'Test CA', now, validityDays: 3650 });
    const successor = await issueServingCertificate({ authority: next, ...names, now, validityDays: 365 });
    for (const { cert } of [serving, successor]) {
      expect(verify(authority.cert + next.cert, cert, now)).toMatchObject({ ok: true });
    }
  });

  it('accepts a CA that lives past 2050, where the form of dates changes', async () => {
    const long = await createAuthority({ commonName: 'Long CA', now, validityDays: 36500 });
    const leaf = await issueServingCertificate({ authority: long, ...names, now, validityDays: 30000 });
    expect(verify(long.cert, leaf.cert, new Date('2060-01-01T00:00:00Z'))).toMatchObject({ ok: true });
  });

  it('refuses to let the serving certificate sign another', async () => {
    const forged = await issueServingCertificate({ authority: serving, ...names, now, validityDays: 30 });
    expect(verify(authority.cert, forged.cert, now, '-untrusted', file('chain', serving.cert))).toMatchObject(
      {
        ok: false,
      },
    );
  });
});

describe('extensions', () => {
  it.each([
    [
      'the CA is a critical CA that signs leaves only',
      () => authority,
      /Basic Constraints: critical\s+CA:TRUE, pathlen:0/,
    ],
    [
      'the CA may sign certificates',
      () => authority,
      /X509v3 Key Usage: critical\s+Certificate Sign, CRL Sign\n/,
    ],
    ['the serving certificate is no CA', () => serving, /Basic Constraints: critical\s+CA:FALSE/],
    [
      'the serving certificate may sign and encipher',
      () => serving,
      /X509v3 Key Usage: critical\s+Digital Signature, Key Encipherment\n/,
    ],
    [
      'the serving certificate is for servers only',
      () => serving,
      /Extended Key Usage:\s+TLS Web Server Authentication\n/,
    ],
    ['the CA is signed with SHA-256', () => authority, /Signature Algorithm: sha256WithRSAEncryption/],
    [
      'the serving certificate is signed with SHA-256',
      () => serving,
      /Signature Algorithm: sha256WithRSAEncryption/,
    ],
  ])('%s', (_, pair, expected) => {
    expect(text(pair().cert)).toMatch(expected);
  });

  it('the authority key identifier is the subject key identifier of the CA', () => {
    const subject = /Subject Key Identifier:\s+(\S+)/.exec(text(authority.cert))?.[1];
    const issuer = /Authority Key Identifier:\s+(?:keyid:)?(\S+)/.exec(text(serving.cert))?.[1];
    expect(issuer).toMatch(/^[0-9A-F:]{59}$/);
    expect(issuer).toBe(subject);
  });

  it('the serial number is positive, of 16 bytes, and another each time', () => {
    const serials = [authority, serving].map((pair) => new X509Certificate(pair.cert).serialNumber);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
    expect(new Set(serials).size).toBe(2);
  });

  it('each key is that of its certificate', () => {
    for (const pair of [authority, serving]) {
      const publicKey = execFileSync('openssl', ['pkey', '-pubout'], { input: pair.key, encoding: 'utf8' });
      expect(new X509Certificate(pair.cert).publicKey.export({ type: 'spki', format: 'pem' })).toBe(
        publicKey,
      );
    }
  });
});

describe('validity', () => {
  it('begins 5 minutes early, for clocks that are behind', () => {
    const early = new Date('2026-03-01T11:55:00.000Z');
    expect(dates(authority)).toEqual({ from: early, to: new Date(now.getTime() + 3650 * dayMs) });
    const later = new Date(now.getTime() + dayMs);
    return issueServingCertificate({ authority, ...names, now: later, validityDays: 365 }).then((pair) =>
      expect(dates(pair)).toEqual({
        from: new Date(early.getTime() + dayMs),
        to: new Date(later.getTime() + 365 * dayMs),
      }),
    );
  });

  it('does not begin before that of the CA', async () => {
    const behind = new Date(now.getTime() - 2 * 60_000);
    const pair = await issueServingCertificate({ authority, ...names, now: behind, validityDays: 365 });
    expect(dates(pair).from).toEqual(dates(authority).from);
  });

  it('does not end after that of the CA', async () => {
    const late = new Date(dates(authority).to.getTime() - 1000);
    const pair = await issueServingCertificate({ authority, ...names, now: late, validityDays: 365 });
    expect(dates(pair).to).toEqual(dates(authority).to);
  });

  it('cannot be had from a CA that has expired', async () => {
    const over = dates(authority).to;
    await expect(
      issueServingCertificate({ authority, ...names, now: over, validityDays: 365 }),
    ).rejects.toMatchObject({
      code: 'IPS_CERT_AUTHORITY_EXPIRED',
      retryable: false,
      message: expect.stringContaining(over.toISOString()),
    });
  });
});
