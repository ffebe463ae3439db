import { generateKeyPair } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import forge from 'node-forge';

type Subject = { commonName: string; organization?: string };
type KeyPair = { keys: forge.pki.rsa.KeyPair; keyPem: string };
type Authority = { certificate: forge.pki.Certificate; keys: forge.pki.rsa.KeyPair };

const DAY_MS = 86_400_000;
let serial = 1;

/**
 * Writes a throw-away cluster's certificates into `folder`: ca, apiserver, admin, controller-manager, scheduler,
 * kube-proxy and one for each kubelet (`NAME.crt`, `NAME.key`), and the service-account key pair.
 */
export async function writePki(folder: string, options: { address: string; nodes: string[] }): Promise<void> {
  await mkdir(folder, { recursive: true });
  const authority = await createAuthority(folder);
  const node = (name: string): Subject => ({
    commonName: `system:node:${name}`,
    organization: 'system:nodes',
  });
  await Promise.all([
    issue(folder, authority, 'apiserver', { commonName: 'kube-apiserver' }, [
      'localhost',
      '127.0.0.1',
      'kubernetes.default.svc',
      '10.96.0.1',
      options.address,
    ]),
    issue(folder, authority, 'admin', { commonName: 'admin', organization: 'system:masters' }),
    issue(folder, authority, 'controller-manager', { commonName: 'system:kube-controller-manager' }),
    issue(folder, authority, 'scheduler', { commonName: 'system:kube-scheduler' }),
    issue(folder, authority, 'kube-proxy', { commonName: 'system:kube-proxy' }),
    ...options.nodes.map((name) => issue(folder, authority, name, node(name), [name, options.address])),
    writeServiceAccountKeys(folder),
  ]);
}

/** Writes a CA (`ca.crt`) and a server's certificate by it (`FILE.crt`, `FILE.key`) for these names into `folder`. */
export async function writeServerPki(folder: string, file: string, names: string[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  await issue(folder, await createAuthority(folder), file, { commonName: file }, names);
}

async function createKeys(): Promise<KeyPair> {
  const pair = await promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const keys = {
    publicKey: forge.pki.publicKeyFromPem(pair.publicKey),
    privateKey: forge.pki.privateKeyFromPem(pair.privateKey),
  };
  return { keys, keyPem: pair.privateKey };
}

async function createAuthority(folder: string): Promise<Authority> {
  const { keys } = await createKeys();
  const certificate = blank({ commonName: 'ips-test-cluster' }, keys.publicKey);
  certificate.setIssuer(certificate.subject.attributes);
  certificate.setExtensions([
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'keyUsage', keyCertSign: true, digitalSignature: true, critical: true },
    { name: 'subjectKeyIdentifier' },
  ]);
  certificate.sign(keys.privateKey, forge.md.sha256.create());
  await writeFile(join(folder, 'ca.crt'), forge.pki.certificateToPem(certificate));
  await writeFile(join(folder, 'ca.key'), forge.pki.privateKeyToPem(keys.privateKey), { mode: 0o600 });
  return { certificate, keys };
}

async function issue(
  folder: string,
  authority: Authority,
  file: string,
  subject: Subject,
  names: string[] = [],
): Promise<void> {
  const { keys, keyPem } = await createKeys();
  const certificate = blank(subject, keys.publicKey);
  certificate.setIssuer(authority.certificate.subject.attributes);
  const altNames = names.map((name) => (isIP(name) ? { type: 7, ip: name } : { type: 2, value: name }));
  certificate.setExtensions([
    { name: 'keyUsage', digitalSignature: true, keyEncipherment: true, critical: true },
    { name: 'extKeyUsage', clientAuth: true, serverAuth: names.length > 0 },
    ...(altNames.length > 0 ? [{ name: 'subjectAltName', altNames }] : []),
  ]);
  certificate.sign(authority.keys.privateKey, forge.md.sha256.create());
  await writeFile(join(folder, `${file}.crt`), forge.pki.certificateToPem(certificate));
  await writeFile(join(folder, `${file}.key`), keyPem, { mode: 0o600 });
}

function blank(subject: Subject, publicKey: forge.pki.rsa.PublicKey): forge.pki.Certificate {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = publicKey;
  certificate.serialNumber = (serial++).toString(16).padStart(2, '0');
  certificate.validity.notBefore = new Date(Date.now() - DAY_MS);
  certificate.validity.notAfter = new Date(Date.now() + 365 * DAY_MS);
  certificate.setSubject([
    { name: 'commonName', value: subject.commonName },
    ...(subject.organization ? [{ name: 'organizationName', value: subject.organization }] : []),
  ]);
  return certificate;
}

async function writeServiceAccountKeys(folder: string): Promise<void> {
  const { keys, keyPem } = await createKeys();
  await writeFile(join(folder, 'service-account.key'), keyPem, { mode: 0o600 });
  await writeFile(join(folder, 'service-account.pub'), forge.pki.publicKeyToPem(keys.publicKey));
}

/** A kubeconfig whose user is the certificate `file` in `folder`, or a bearer token. */
export function kubeconfig(
  server: string,
  caFile: string,
  user: { certificate: string; key: string } | { token: string },
): string {
  const credentials =
    'token' in user
      ? { token: user.token }
      : { 'client-certificate': user.certificate, 'client-key': user.key };
  // JSON is YAML: kubectl and client-go read it.
  return JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster: { server, 'certificate-authority': caFile } }],
      users: [{ name: 'test', user: credentials }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      'current-context': 'test',
    },
    undefined,
    2,
  );
}
