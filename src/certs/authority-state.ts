import { X509Certificate } from 'node:crypto';
import { createAuthority, issueServingCertificate, type KeyPairPem } from './authority.ts';
import {
  isRenewalDue,
  isSignedBy,
  namesMissing,
  parseCertificates,
  parsePrivateKey,
  type ServerNames,
} from './certificate.ts';

/** All that the replicas share: what is served, the CA that signed it and, while CAs change, the one that comes. */
export type AuthorityState = {
  authority: KeyPairPem;
  serving: KeyPairPem;
  /** Is made known, and signs nothing before it is. */
  next?: KeyPairPem | undefined;
};

/** What there is to do, as the log says it; each is one write, after which every replica may do the one that follows. */
export type Step =
  | 'new authority and certificate'
  | 'new CA, to be made known first'
  | 'certificate of the new CA'
  | 'new certificate';

const CA_NAME = 'Image Prewarm Service CA';
const CA_DAYS = 3650;
const SERVING_DAYS = 365;

/** The next step, or none. `isKnown` tells whether clients trust a CA by now. */
export function dueStep(
  state: AuthorityState | undefined,
  facts: { names: ServerNames; now: Date; isKnown: (ca: string) => boolean },
): Step | undefined {
  if (!state) return 'new authority and certificate';
  const { authority, serving, next } = state;
  if (next) return facts.isKnown(next.cert) ? 'certificate of the new CA' : undefined;
  if (isRenewalDue(authority.cert, facts.now)) return 'new CA, to be made known first';
  const lacksNames = namesMissing(new X509Certificate(serving.cert), facts.names).length > 0;
  return lacksNames || isRenewalDue(serving.cert, facts.now) ? 'new certificate' : undefined;
}

export async function takeStep(
  step: Step,
  state: AuthorityState | undefined,
  facts: { names: ServerNames; now: Date },
): Promise<AuthorityState> {
  const { now } = facts;
  const newAuthority = () => createAuthority({ commonName: CA_NAME, now, validityDays: CA_DAYS });
  const issue = (authority: KeyPairPem, names = facts.names) =>
    issueServingCertificate({ authority, ...names, now, validityDays: SERVING_DAYS });
  if (!state || step === 'new authority and certificate') {
    const authority = await newAuthority();
    return { authority, serving: await issue(authority) };
  }
  const { authority, serving, next } = state;
  if (step === 'new CA, to be made known first') return { ...state, next: await newAuthority() };
  if (step === 'certificate of the new CA' && next) return { authority: next, serving: await issue(next) };
  // While replicas of two versions run, each asks for its own names: the certificate then has to have both.
  const names = isRenewalDue(serving.cert, now) ? facts.names : union(facts.names, namesOf(serving.cert));
  return { authority, serving: await issue(authority, names) };
}

/** The keys of a Secret's `data`. */
const FILES = {
  authority: ['ca.crt', 'ca.key'],
  serving: ['tls.crt', 'tls.key'],
  next: ['next-ca.crt', 'next-ca.key'],
} as const satisfies Record<keyof AuthorityState, [string, string]>;

export function toSecretData(state: AuthorityState): Record<string, string> {
  const pairs = Object.entries(FILES).flatMap(([name, [cert, key]]) => {
    const pair = state[name as keyof AuthorityState];
    return pair ? ([[cert, pair.cert] as const, [key, pair.key] as const] as const) : [];
  });
  return Object.fromEntries(pairs.map(([file, text]) => [file, Buffer.from(text).toString('base64')]));
}

/** What a Secret holds; where that is not of use, `problem` says why. A broken next CA is as good as none. */
export function fromSecretData(data: Record<string, string> | undefined): {
  state?: AuthorityState;
  problem?: string;
} {
  if (Object.keys(data ?? {}).length === 0) return { problem: 'it is empty' };
  try {
    const authority = readAuthority(data, FILES.authority);
    const serving = readPair(data, FILES.serving);
    if (!isSignedBy(new X509Certificate(serving.cert), new X509Certificate(authority.cert)))
      return { problem: 'tls.crt is not of the CA in ca.crt' };
    return { state: { authority, serving, next: readNext(data) } };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

function readNext(data: Record<string, string> | undefined): KeyPairPem | undefined {
  try {
    return readAuthority(data, FILES.next);
  } catch {
    return undefined;
  }
}

function readAuthority(
  data: Record<string, string> | undefined,
  files: readonly [string, string],
): KeyPairPem {
  const pair = readPair(data, files);
  const certificate = new X509Certificate(pair.cert);
  if (!certificate.ca || !isSignedBy(certificate, certificate))
    throw new Error(`${files[0]} is not a self-signed CA`);
  // node-forge, which issues, reads no others.
  if (certificate.publicKey.asymmetricKeyType !== 'rsa') throw new Error(`${files[1]} is not an RSA key`);
  return pair;
}

function readPair(
  data: Record<string, string> | undefined,
  [certFile, keyFile]: readonly [string, string],
): KeyPairPem {
  const text = (file: string) => Buffer.from(data?.[file] ?? '', 'base64').toString();
  const pair = { cert: text(certFile), key: text(keyFile) };
  const [certificate] = parseCertificates(pair.cert, certFile);
  if (!certificate.checkPrivateKey(parsePrivateKey(pair.key, keyFile)))
    throw new Error(`${keyFile} is not the key of ${certFile}`);
  return pair;
}

function namesOf(cert: string): ServerNames {
  const entries = (new X509Certificate(cert).subjectAltName ?? '').split(', ');
  const of = (kind: string) =>
    entries.filter((entry) => entry.startsWith(kind)).map((entry) => entry.slice(kind.length));
  return { dnsNames: of('DNS:'), ipAddresses: of('IP Address:') };
}

function union(a: ServerNames, b: ServerNames): ServerNames {
  return {
    dnsNames: [...new Set([...a.dnsNames, ...b.dnsNames])],
    ipAddresses: [...new Set([...a.ipAddresses, ...b.ipAddresses])],
  };
}
