import { generateKeyPair, randomBytes, sign } from 'node:crypto';
import { promisify } from 'node:util';
import forge from 'node-forge';
import { CertificateError } from './certificate-error.ts';

/** A certificate and its private key (PKCS #8), both PEM. */
export type KeyPairPem = { cert: string; key: string };

const clockSkewMs = 5 * 60_000;
const dayMs = 24 * 60 * 60_000;
const generateKeys = promisify(generateKeyPair);

/**
 * Makes a self-signed CA that signs serving certificates and nothing below them.
 * `commonName`: letters, digits, spaces, `.` and `-`, because forge writes it as a PrintableString.
 */
export async function createAuthority(options: {
  commonName: string;
  now: Date;
  validityDays: number;
}): Promise<KeyPairPem> {
  const made = await newCertificate(options.now, options.validityDays);
  const { certificate } = made;
  const name = [{ name: 'commonName', value: options.commonName }];
  certificate.setSubject(name);
  certificate.setIssuer(name);
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: true, pathLenConstraint: 0 },
    { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
    ...keyIdentifiers(certificate),
  ]);
  return signed(made, made.keys.privateKey);
}

/**
 * Issues a certificate for a TLS server under `authority`, which must come from `createAuthority`: forge cannot
 * read EC keys. It is valid at no time at which its CA is not.
 * @throws CertificateError IPS_CERT_AUTHORITY_EXPIRED
 */
export async function issueServingCertificate(options: {
  authority: KeyPairPem;
  dnsNames: string[];
  ipAddresses: string[];
  now: Date;
  validityDays: number;
}): Promise<KeyPairPem> {
  const ca = forge.pki.certificateFromPem(options.authority.cert);
  const { notBefore, notAfter } = ca.validity;
  if (options.now >= notAfter) {
    throw new CertificateError(
      'IPS_CERT_AUTHORITY_EXPIRED',
      `The certificate authority expired at ${notAfter.toISOString()} and can issue nothing more: make a new one.`,
    );
  }
  const made = await newCertificate(options.now, options.validityDays);
  const { certificate } = made;
  const { validity } = certificate;
  if (validity.notBefore < notBefore) validity.notBefore = notBefore;
  if (validity.notAfter > notAfter) validity.notAfter = notAfter;
  // No subject: clients look at alternative names only, and a name here could collide with the CA's. RFC 5280,
  // 4.2.1.6, then wants those names critical.
  certificate.setSubject([]);
  certificate.setIssuer(ca.subject.attributes);
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: false },
    { name: 'keyUsage', critical: true, digitalSignature: true, keyEncipherment: true },
    { name: 'extKeyUsage', serverAuth: true },
    {
      name: 'subjectAltName',
      critical: true,
      altNames: [
        ...options.dnsNames.map((value) => ({ type: 2, value })),
        ...options.ipAddresses.map((ip) => ({ type: 7, ip })),
      ],
    },
    ...keyIdentifiers(ca),
  ]);
  return signed(made, options.authority.key);
}

type NewCertificate = { certificate: forge.pki.Certificate; keys: { publicKey: string; privateKey: string } };

async function newCertificate(now: Date, validityDays: number): Promise<NewCertificate> {
  // Not forge's own generation, which blocks the event loop for up to 640 ms.
  const keys = await generateKeys('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.publicKeyFromPem(keys.publicKey);
  certificate.serialNumber = newSerial();
  certificate.validity.notBefore = new Date(now.getTime() - clockSkewMs);
  certificate.validity.notAfter = new Date(now.getTime() + validityDays * dayMs);
  return { certificate, keys };
}

/** 16 bytes, hex. The first is 0x40 to 0x7f: as a DER integer it is then positive and has no leading zero. */
function newSerial(): string {
  const serial = randomBytes(16);
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0);
  return serial.toString('hex');
}

/** `openssl verify -x509_strict` refuses a chain without them. `true` would name the certificate as its own issuer. */
function keyIdentifiers(issuer: forge.pki.Certificate): object[] {
  return [
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: issuer.generateSubjectKeyIdentifier().getBytes() },
  ];
}

/** Signs by OpenSSL, because forge's own RSA, in JavaScript, blocks the event loop for 30 ms. */
function signed({ certificate, keys }: NewCertificate, signingKey: string): KeyPairPem {
  // Of its key, forge calls only `sign`, once it has set `tbsCertificate`.
  const signer = {
    sign: (): string => {
      const content = forge.asn1.toDer(certificate.tbsCertificate).getBytes();
      return sign('sha256', Buffer.from(content, 'binary'), signingKey).toString('binary');
    },
  };
  certificate.sign(signer as unknown as forge.pki.rsa.PrivateKey, forge.md.sha256.create());
  return { cert: forge.pki.certificateToPem(certificate).replaceAll('\r\n', '\n'), key: keys.privateKey };
}
