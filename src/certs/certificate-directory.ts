import type { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  leadsTo,
  namesMissing,
  parseCertificates,
  parsePrivateKey,
  type ServerNames,
} from './certificate.ts';
import { CertificateError } from './certificate-error.ts';
import type { ServingCertificate } from './certificate-source.ts';

/**
 * Reads `tls.crt`, `tls.key` and `ca.crt` of a folder. They have to be read again and again, because a mounted Secret
 * changes by a swap of the symlink `..data`, which a watch on the files never sees.
 * @throws CertificateError when they are not sound, or the certificate is not for `names`
 */
export async function readDirectory(
  directory: string,
  names: ServerNames,
  now: Date,
): Promise<ServingCertificate> {
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
  const missing = namesMissing(leaf, names);
  if (missing.length > 0) {
    throw new CertificateError(
      'IPS_CERT_NAME_MISSING',
      `${certFile} is not for ${missing.join(', ')}, by which the API server calls us: issue it for that too (subject alternative names), or set WEBHOOK_HOSTS.`,
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
