import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAuthority, issueServingCertificate } from './authority.ts';
import { CertificateError } from './certificate-error.ts';

/** What a TLS server presents (`cert`, a chain with the leaf first, and `key`) and what its clients trust (`ca`). PEM. */
export type ServingCertificate = { cert: string; key: string; ca: string };

/**
 * Where the TLS server's certificate comes from. To serve a renewed one without a restart:
 *
 *     const { cert, key } = source.current();
 *     const app = fastify({ http2: true, https: { allowHTTP1: true, cert, key } });
 *     source.onChange(({ cert, key }) => app.server.setSecureContext({ cert, key }));
 *
 * New connections then get the new certificate; open ones keep theirs. ALPN stays as it was, but every option of the
 * secure context itself (`minVersion`, `ciphers`) falls back to its default unless it is passed again. `ca` is for the
 * webhook configuration's `caBundle`, not for the server, which would only check client certificates with it.
 */
export type CertificateSource = {
  current(): ServingCertificate;
  onChange(listener: (certificate: ServingCertificate) => void): void;
  close(): void;
};

type OnError = (error: Error) => void;

const caValidityDays = 3650;
const servingValidityDays = 365;

/**
 * Makes a CA (10 years) and a serving certificate (1 year) in memory, and renews the latter under the same CA at two
 * thirds of its life. `onError` hears of a failed renewal once; it is tried again at every check.
 */
export async function ownAuthoritySource(options: {
  dnsNames: string[];
  ipAddresses: string[];
  onError: OnError;
  now?: () => Date;
  checkIntervalMs?: number;
}): Promise<CertificateSource> {
  const { dnsNames, ipAddresses, onError, now = () => new Date(), checkIntervalMs = 60_000 } = options;
  const commonName = 'Image Prewarm Service CA';
  const authority = await createAuthority({ commonName, now: now(), validityDays: caValidityDays });

  async function issue(): Promise<ServingCertificate> {
    const wanted = { dnsNames, ipAddresses, now: now(), validityDays: servingValidityDays };
    const pair = await issueServingCertificate({ authority, ...wanted });
    return { ...pair, ca: authority.cert };
  }

  // Wall clocks are compared, because a timer set for two thirds of a year stops while a machine is suspended.
  return polledSource(await issue(), checkIntervalMs, onError, (current) =>
    now() < renewalDue(current.cert) ? current : issue(),
  );
}

function renewalDue(cert: string): Date {
  const { validFromDate, validToDate } = new X509Certificate(cert);
  const start = validFromDate.getTime();
  return new Date(start + ((validToDate.getTime() - start) * 2) / 3);
}

/**
 * Serves `tls.crt`, `tls.key` and `ca.crt` of `directory`. They are read again at each poll, because a mounted Secret
 * changes by a swap of the symlink `..data`, which a watch on the files never sees. What is not sound is not
 * taken: the certificate in use stays, and `onError` hears of each fault once until it is mended. That one in use has
 * expired is such a fault.
 * @throws CertificateError when the files are not sound at start
 */
export async function directorySource(options: {
  directory: string;
  onError: OnError;
  now?: () => Date;
  pollIntervalMs?: number;
}): Promise<CertificateSource> {
  const { directory, onError, now = () => new Date(), pollIntervalMs = 5_000 } = options;
  return polledSource(await readDirectory(directory, now()), pollIntervalMs, onError, () =>
    readDirectory(directory, now()),
  );
}

async function readDirectory(directory: string, now: Date): Promise<ServingCertificate> {
  const certFile = join(directory, 'tls.crt');
  const keyFile = join(directory, 'tls.key');
  const caFile = join(directory, 'ca.crt');
  // One after another: of several missing files the same one is named each time, so it is reported once.
  const cert = await readPem(certFile);
  const key = await readPem(keyFile);
  const ca = await readPem(caFile);

  const [leaf, ...intermediates] = parseCertificates(cert, certFile);
  const authorities = parseCertificates(ca, caFile);
  const isValidNow = ({ validFromDate, validToDate }: X509Certificate): boolean =>
    validFromDate <= now && now <= validToDate;
  if (!leaf.checkPrivateKey(parsePrivateKey(key, keyFile))) {
    throw new CertificateError(
      'IPS_CERT_KEY_MISMATCH',
      `${keyFile} is not the key of the certificate in ${certFile}: put there the two files that were issued together.`,
    );
  }
  if (!isValidNow(leaf)) {
    throw new CertificateError(
      'IPS_CERT_NOT_VALID_NOW',
      `${certFile} is valid from ${leaf.validFrom} to ${leaf.validTo}, not now: renew it, or set the clock.`,
    );
  }
  // A bundle may hold an expired CA beside its successor; only those that clients accept now count.
  if (!leadsTo(authorities.filter(isValidNow), leaf, intermediates.filter(isValidNow))) {
    throw new CertificateError(
      'IPS_CERT_CA_MISMATCH',
      `${caFile} holds no certificate, valid now, that signed ${certFile}: put there the CA that issued it, and into ${certFile} any intermediate after the certificate.`,
    );
  }
  return { cert, key, ca };
}

async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? error.code : error;
    throw new CertificateError(
      'IPS_CERT_UNREADABLE',
      `${file} cannot be read (${reason}): CERT_DIR must hold tls.crt, tls.key and ca.crt, readable by this process.`,
      error,
    );
  }
}

function parseCertificates(pem: string, file: string): [X509Certificate, ...X509Certificate[]] {
  try {
    const blocks = pem.match(/-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs) ?? [];
    const [first, ...rest] = blocks.map((block) => new X509Certificate(block));
    if (first) return [first, ...rest];
  } catch (error) {
    throw notPem(file, 'certificate', error);
  }
  throw notPem(file, 'certificate');
}

function parsePrivateKey(pem: string, file: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw notPem(file, 'private key without a passphrase', error);
  }
}

function notPem(file: string, content: string, cause?: unknown): CertificateError {
  const message = `${file} does not hold a PEM ${content}: write it in that form (-----BEGIN …-----).`;
  return new CertificateError('IPS_CERT_NOT_PEM', message, cause);
}

/** Follows the chain from the leaf, in the order in which TLS sends it, to one that an authority signed. */
function leadsTo(authorities: X509Certificate[], leaf: X509Certificate, rest: X509Certificate[]): boolean {
  if (authorities.some((authority) => isSignedBy(leaf, authority))) return true;
  const [next, ...others] = rest;
  return next !== undefined && isSignedBy(leaf, next) && leadsTo(authorities, next, others);
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** Asks `next` at each interval what to serve, one call at a time; the timer does not keep the process alive. */
function polledSource(
  initial: ServingCertificate,
  intervalMs: number,
  onError: OnError,
  next: (current: ServingCertificate) => ServingCertificate | Promise<ServingCertificate>,
): CertificateSource {
  const listeners: ((certificate: ServingCertificate) => void)[] = [];
  let current = initial;
  let lastError: string | undefined;
  let polling = false;
  let closed = false;

  async function poll(): Promise<void> {
    if (polling) return;
    polling = true;
    try {
      const found = await next(current);
      lastError = undefined;
      if (!closed && !isSame(found, current)) publish(found);
    } catch (error) {
      const { message } = asError(error);
      if (!closed && message !== lastError) onError(asError(error));
      lastError = message;
    } finally {
      polling = false;
    }
  }

  function publish(certificate: ServingCertificate): void {
    current = certificate;
    for (const listener of listeners) {
      try {
        listener(certificate);
      } catch (error) {
        onError(asError(error));
      }
    }
  }

  const timer = setInterval(() => void poll(), intervalMs).unref();
  return {
    current: () => current,
    onChange: (listener) => void listeners.push(listener),
    close: () => {
      closed = true;
      clearInterval(timer);
    },
  };
}

function isSame(a: ServingCertificate, b: ServingCertificate): boolean {
  return a.cert === b.cert && a.key === b.key && a.ca === b.ca;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
