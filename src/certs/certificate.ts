import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { CertificateError } from './certificate-error.ts';

/** The certificates of a PEM text, in its order. `where` is what an error calls it. */
export function parseCertificates(pem: string, where: string): [X509Certificate, ...X509Certificate[]] {
  try {
    const [first, ...rest] = pemBlocks(pem).map((block) => new X509Certificate(block));
    if (first) return [first, ...rest];
  } catch (error) {
    throw notPem(where, 'certificate', error);
  }
  throw notPem(where, 'certificate');
}

/** The sound certificates of a PEM text, each in one form, so that they can be compared; the rest is left out. */
export function certificatesIn(pem: string): string[] {
  const found = pemBlocks(pem).flatMap((block) => {
    try {
      return [new X509Certificate(block).toString()];
    } catch {
      return [];
    }
  });
  return [...new Set(found)];
}

export function parsePrivateKey(pem: string, where: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw notPem(where, 'private key without a passphrase', error);
  }
}

/** Whether a client that trusts only `authorities` accepts `cert`, a chain with the leaf first. Dates are not looked at. */
export function isTrusted(cert: string, authorities: string[]): boolean {
  const [leaf, ...intermediates] = pemBlocks(cert).map((block) => new X509Certificate(block));
  const trusted = authorities.map((authority) => new X509Certificate(authority));
  return leaf !== undefined && leadsTo(trusted, leaf, intermediates);
}

/** Follows the chain from the leaf, in the order in which TLS sends it, to one that an authority signed. */
export function leadsTo(
  authorities: X509Certificate[],
  leaf: X509Certificate,
  rest: X509Certificate[],
): boolean {
  if (authorities.some((authority) => isSignedBy(leaf, authority))) return true;
  const [next, ...others] = rest;
  return next !== undefined && isSignedBy(leaf, next) && leadsTo(authorities, next, others);
}

export function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** Those of `names`, DNS names and addresses, that a certificate does not stand for. */
export function namesMissing(leaf: X509Certificate, names: ServerNames): string[] {
  // As Go does, the subject's common name does not count.
  const dns = names.dnsNames.filter((name) => !leaf.checkHost(name, { subject: 'never' }));
  return [...dns, ...names.ipAddresses.filter((address) => !leaf.checkIP(address))];
}

export type ServerNames = { dnsNames: string[]; ipAddresses: string[] };

/**
 * Two thirds of its life are over; or it has not begun, because the clock of whoever issued it was wrong. Wall clocks
 * are compared, since a timer set for two thirds of a year stops while a machine is suspended.
 */
export function isRenewalDue(cert: string, now: Date): boolean {
  const { validFromDate, validToDate } = new X509Certificate(cert);
  const start = validFromDate.getTime();
  return now < validFromDate || now.getTime() >= start + ((validToDate.getTime() - start) * 2) / 3;
}

export function isExpired(cert: string, now: Date): boolean {
  return new X509Certificate(cert).validToDate < now;
}

function pemBlocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs) ?? [];
}

function notPem(where: string, content: string, cause?: unknown): CertificateError {
  const message = `${where} does not hold a PEM ${content}: write it in that form (-----BEGIN …-----).`;
  return new CertificateError('IPS_CERT_NOT_PEM', message, cause);
}
