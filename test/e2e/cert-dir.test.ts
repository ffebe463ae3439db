import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority, issueServingCertificate, type KeyPairPem } from '../../src/certs/authority.ts';
import { certificatesIn } from '../../src/certs/certificate.ts';
import type { ServingCertificate } from '../../src/certs/certificate-source.ts';
import { run, waitFor } from '../cluster/run.ts';
import { bundles, SLOW, shownNow, verifyByOpenssl, whileAppliesFlow } from './certificates.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, type Kit, unique } from './kit.ts';

let kit: Kit;
/** Two replicas, each with its own mount of the same Secret: kubelets renew them at different times. */
let first: Ips;
let second: Ips;
let mounts: [string, string];
let authority: KeyPairPem;
const started: Ips[] = [];

beforeAll(async () => {
  kit = await createKit('cert-dir');
  authority = await newAuthority();
  const files = await issue(authority);
  mounts = [await mountOf(files), await mountOf(files)];
  first = await startIps(kit.cluster, { env: { CERT_DIR: mounts[0] } });
  started.push(first);
  second = await startIps(kit.cluster, { webhook: false, env: { CERT_DIR: mounts[1] } });
  started.push(second);
});

afterAll(async () => {
  await Promise.all(started.map((ips) => ips.stop()));
  await kit?.remove();
});

const newAuthority = () =>
  createAuthority({ commonName: unique('given'), now: new Date(), validityDays: 10 });

async function issue(ca: KeyPairPem, address = kit.cluster.sandbox.hostAddress): Promise<ServingCertificate> {
  const names = { dnsNames: [], ipAddresses: [address] };
  const pair = await issueServingCertificate({ authority: ca, ...names, now: new Date(), validityDays: 5 });
  return { ...pair, ca: ca.cert };
}

/** A folder as the kubelet makes it for a Secret: files that point through `..data`. */
async function mountOf(files: ServingCertificate): Promise<string> {
  const directory = await mkdtemp(join(kit.cluster.folder, 'cert-dir-'));
  await swap(directory, files);
  for (const name of ['tls.crt', 'tls.key', 'ca.crt'])
    await symlink(join('..data', name), join(directory, name));
  return directory;
}

/** As the kubelet does it: a new folder, then `..data` is renamed over. */
async function swap(directory: string, { cert, key, ca }: ServingCertificate): Promise<void> {
  const version = unique('..version');
  await mkdir(join(directory, version));
  for (const [name, text] of Object.entries({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca }))
    await writeFile(join(directory, version, name), text);
  await symlink(version, join(directory, '..data_tmp'));
  await rename(join(directory, '..data_tmp'), join(directory, '..data'));
}

async function untilShown(ips: Ips, cert: string): Promise<void> {
  await waitFor(
    'the new certificate to be served',
    async () => (await shownNow(kit.cluster, ips)) === cert,
    SLOW,
  );
}

test('a new certificate and a new CA, which replicas see at different times, are served while applies flow', async () => {
  const old = await shownNow(kit.cluster, first);
  const nextAuthority = await newAuthority();
  const next = await issue(nextAuthority);
  await whileAppliesFlow(kit, [first, second], async () => {
    await swap(mounts[0], next);
    await untilShown(first, next.cert);
    for (const bundle of await bundles(kit.cluster))
      expect(certificatesIn(bundle)).toEqual(expect.arrayContaining([authority.cert, next.ca]));
    expect(await shownNow(kit.cluster, second)).toBe(old);
    await swap(mounts[1], next);
    await untilShown(second, next.cert);
  });
  await Promise.all([verifyByOpenssl(kit.cluster, first), verifyByOpenssl(kit.cluster, second)]);
  authority = nextAuthority;
});

test('a new certificate of the same CA is served, one for another name is not, and the log says why', async () => {
  const renewed = await issue(authority);
  await whileAppliesFlow(kit, [first], async () => {
    await swap(mounts[0], renewed);
    await untilShown(first, renewed.cert);
    await swap(mounts[0], await issue(authority, '10.0.0.1'));
    const { hostAddress } = kit.cluster.sandbox;
    await waitFor('IPS to say what is wrong', async () =>
      (await first.logLines()).some(({ msg, err }) => {
        const { code, message } = (err ?? {}) as { code?: string; message?: string };
        const isTold = msg === 'certificate kept as it is' && code === 'IPS_CERT_NAME_MISSING';
        return isTold && message?.includes(`is not for ${hostAddress}, by which the API server calls us`);
      }),
    );
  });
  expect(await shownNow(kit.cluster, first)).toBe(renewed.cert);
});

test.each<[string, string, (files: ServingCertificate) => ServingCertificate, Record<string, string>]>([
  [
    'whose key does not fit',
    'IPS_CERT_KEY_MISMATCH',
    (files) => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      return { ...files, key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })) };
    },
    {},
  ],
  ['for other names', 'IPS_CERT_NAME_MISSING', (files) => files, { WEBHOOK_HOSTS: 'ips.elsewhere.svc' }],
])('a CERT_DIR with a certificate %s stops the start with %s', async (_, code, change, env) => {
  const directory = await mountOf(change(await issue(authority)));
  const main = join(import.meta.dirname, '../../src/main.ts');
  const failure = await run(process.execPath, [main], {
    env: {
      PATH: process.env['PATH'],
      SERVER_PORT: '0',
      CERT_DIR: directory,
      WEBHOOK_HOSTS: kit.cluster.sandbox.hostAddress,
      KUBECONFIG: kit.cluster.kubeconfigFile,
      ...env,
    },
  }).catch((error: { code: number; stdout: string }) => error);
  expect(failure).toMatchObject({ code: 1, stdout: expect.stringContaining(code) });
});
