import { X509Certificate } from 'node:crypto';
import { createServer } from 'node:net';
import { join } from 'node:path';
import forge from 'node-forge';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority } from '../../src/certs/authority.ts';
import type { WebhookConfiguration } from '../../src/certs/ca-bundle.ts';
import { certificatesIn } from '../../src/certs/certificate.ts';
import { kubectl, pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { bundles, SLOW, shownNow, verifyByOpenssl, whileAppliesFlow } from './certificates.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';

const ROOT = join(import.meta.dirname, '../..');
const DAY_MS = 24 * 60 * 60_000;

let kit: Kit;
/** The one that the API server calls, and another beside it. */
let first: Ips;
let second: Ips;
const started: Ips[] = [];

beforeAll(async () => {
  kit = await createKit('certificates');
  await admin(['delete', 'mutatingwebhookconfiguration', 'ips', '--ignore-not-found']);
});

afterAll(async () => {
  await Promise.all(started.map((ips) => ips.stop()));
  await kit?.remove();
});

const admin = (args: string[], input?: string) => kubectl(kit.cluster, args, input);

async function start(env: Record<string, string> = {}): Promise<Ips> {
  const ips = await startIps(kit.cluster, { webhook: false, env });
  started.push(ips);
  return ips;
}

const isReady = async ({ url }: Ips) => (await fetch(`${url}/readyz`)).ok;

async function stepsOf(...replicas: Ips[]): Promise<Record<string, unknown>[]> {
  const lines = (await Promise.all(replicas.map((ips) => ips.logLines()))).flat();
  return lines
    .filter((line) => line['msg'] === 'certificates written')
    .sort((a, b) => Number(a['time']) - Number(b['time']));
}

type SecretData = Record<string, string>;

async function readSecret(): Promise<SecretData> {
  const text = await admin(['get', 'secret', 'ips-certificates', '-n', 'ips-system', '-o', 'json']);
  const { data = {} } = JSON.parse(text) as { data?: SecretData };
  return Object.fromEntries(
    Object.entries(data).map(([name, value]) => [name, Buffer.from(value, 'base64').toString()]),
  );
}

async function writeSecret(data: SecretData): Promise<void> {
  const patch = JSON.stringify({ stringData: data });
  await admin(['patch', 'secret', 'ips-certificates', '-n', 'ips-system', '-p', patch]);
}

/** The same certificate, of the same keys, as it would be had it been issued so many days ago. */
function aged(cert: string, signingKey: string, days: number): string {
  const certificate = forge.pki.certificateFromPem(cert);
  const { validity } = certificate;
  validity.notBefore = new Date(validity.notBefore.getTime() - days * DAY_MS);
  validity.notAfter = new Date(validity.notAfter.getTime() - days * DAY_MS);
  certificate.sign(forge.pki.privateKeyFromPem(signingKey), forge.md.sha256.create());
  return forge.pki.certificateToPem(certificate);
}

test('two replicas that start at once on a broken Secret end with one authority, and say why they made it', async () => {
  const broken = [
    { op: 'add', path: '/data', value: { 'tls.crt': Buffer.from('broken').toString('base64') } },
  ];
  const patch = ['--type=json', '-p', JSON.stringify(broken)];
  await admin(['patch', 'secret', 'ips-certificates', '-n', 'ips-system', ...patch]);
  [first, second] = await Promise.all([start(), start()]);
  const steps = await stepsOf(first, second);
  expect(steps).toMatchObject([
    {
      step: 'new authority and certificate',
      problem: expect.stringMatching(/^ca\.crt does not hold a PEM certificate/),
    },
  ]);
  expect(await isReady(first)).toBe(false);
  await first.installWebhook();
  await waitFor('both to be ready', async () => (await isReady(first)) && (await isReady(second)));
  const secret = await readSecret();
  expect((await bundles(kit.cluster)).map(certificatesIn)).toEqual([[secret['ca.crt']], [secret['ca.crt']]]);
  expect(await Promise.all([shownNow(kit.cluster, first), shownNow(kit.cluster, second)])).toEqual([
    secret['tls.crt'],
    secret['tls.crt'],
  ]);
  await verifyByOpenssl(kit.cluster, first);
});

test('a webhook configuration that was replaced gets its CA back at once; applied again it keeps it', async () => {
  const { 'ca.crt': ours } = await readSecret();
  const made = (daysAgo: number) =>
    createAuthority({
      commonName: unique('others'),
      now: new Date(Date.now() - daysAgo * DAY_MS),
      validityDays: 2,
    });
  const [others, expired] = [(await made(0)).cert, (await made(3)).cert];
  const mended = (wanted: unknown) =>
    waitFor(
      'the CA to be back',
      async () => JSON.stringify((await bundles(kit.cluster)).map(certificatesIn)) === JSON.stringify(wanted),
      { everyMs: 50, timeoutMs: 10_000 },
    );
  const configuration = ['mutatingwebhookconfiguration', 'ips'];
  const object = JSON.parse(await admin(['get', ...configuration, '-o', 'json'])) as WebhookConfiguration;
  for (const { clientConfig } of object.webhooks ?? []) delete clientConfig?.caBundle;
  delete object.metadata.resourceVersion;
  await admin(['replace', '-f', '-'], JSON.stringify(object));
  await mended([[ours], [ours]]);

  // What others put there stays, unless it has expired.
  const value = Buffer.from(others + expired).toString('base64');
  const overwrite = [{ op: 'replace', path: '/webhooks/0/clientConfig/caBundle', value }];
  await admin(['patch', ...configuration, '--type=json', '-p', JSON.stringify(overwrite)]);
  await mended([[others, ours], [ours]]);
  await first.installWebhook();
  expect((await bundles(kit.cluster)).map(certificatesIn)).toEqual([[others, ours], [ours]]);
});

test('a serving certificate at two thirds of its life is renewed while applies flow', async () => {
  const { 'ca.key': caKey = '', 'ca.crt': ca, 'tls.crt': cert = '' } = await readSecret();
  await whileAppliesFlow(kit, [first, second], async () => {
    await writeSecret({ 'tls.crt': aged(cert, caKey, 250) });
    await waitFor(
      'both to serve another',
      async () => {
        const now = await Promise.all([shownNow(kit.cluster, first), shownNow(kit.cluster, second)]);
        return now[0] === now[1] && now[0] !== cert;
      },
      SLOW,
    );
  });
  expect((await readSecret())['ca.crt']).toBe(ca);
  expect((await stepsOf(first, second)).map((line) => line['step']).slice(1)).toEqual(['new certificate']);
  await Promise.all([verifyByOpenssl(kit.cluster, first), verifyByOpenssl(kit.cluster, second)]);
});

test('a CA at two thirds of its life: the new one is published beside it, then used, while applies flow', async () => {
  const { 'ca.key': caKey = '', 'ca.crt': ca = '', 'tls.crt': cert } = await readSecret();
  await whileAppliesFlow(kit, [first, second], async () => {
    await writeSecret({ 'ca.crt': aged(ca, caKey, 2500) });
    const next = await waitFor('the next CA', async () => (await readSecret())['next-ca.crt'], SLOW);
    await waitFor('it to be published', async () =>
      (await bundles(kit.cluster)).every((bundle) => bundle.includes(next)),
    );
    expect((await readSecret())['tls.crt']).toBe(cert);
    await waitFor(
      'both to serve a certificate of it',
      async () => {
        const now = await Promise.all([shownNow(kit.cluster, first), shownNow(kit.cluster, second)]);
        return now.every((each) => new X509Certificate(each).verify(new X509Certificate(next).publicKey));
      },
      SLOW,
    );
    expect((await readSecret())['ca.crt']).toBe(next);
  });
  // The old one stays for those that may still serve with it.
  for (const bundle of await bundles(kit.cluster)) expect(certificatesIn(bundle)).toContain(ca);
  await Promise.all([verifyByOpenssl(kit.cluster, first), verifyByOpenssl(kit.cluster, second)]);
  const { serving, authority } = await endsOf(await readSecret());
  for (const ips of [first, second]) {
    const gauge = (certificate: string) =>
      ips.metric('ips_certificate_expiry_timestamp_seconds', `certificate="${certificate}"`);
    expect([await gauge('serving'), await gauge('ca')]).toEqual([serving, authority]);
  }
  // Warmers are pinned by the new certificate, too.
  const other = await pushTestImage(kit.cluster, `${unique('renewed')}:1`, 1_000_000);
  await kit.apply(
    deployment('renewed', { annotations: PREWARM, replicas: 0, images: [other], spec: WEB_NODES }),
  );
  await kit.status('deployment/renewed', /^Warm 2\/2/);
});

async function endsOf(secret: SecretData): Promise<{ serving: number; authority: number }> {
  const end = (file: string) => new X509Certificate(secret[file] ?? '').validToDate.getTime() / 1000;
  return { serving: end('tls.crt'), authority: end('ca.crt') };
}

test('without its Secret a replica goes on and a new one says what to do; with it anew all change over', async () => {
  const before = await shownNow(kit.cluster, first);
  await admin(['delete', 'secret', 'ips-certificates', '-n', 'ips-system']);
  const port = await freePort();
  const starting = start({ SERVER_PORT: String(port) });
  await waitFor('the new one to say what it lacks', async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
    const { checks } = (await answer.json()) as { checks: { authority: string } };
    return (
      answer.status === 503 &&
      /^Secret ips-system\/ips-certificates is missing: apply /.test(checks.authority)
    );
  });
  await whileAppliesFlow(kit, [first, second], async () => {
    await admin(['apply', '-f', join(ROOT, 'deploy/base/secret.yaml')]);
    const third = await starting;
    await waitFor('the new one to be ready', () => isReady(third), SLOW);
    await waitFor(
      'all to serve the same',
      async () => {
        const now = await Promise.all([first, second, third].map((ips) => shownNow(kit.cluster, ips)));
        return new Set(now).size === 1 && now[0] !== before;
      },
      SLOW,
    );
    expect(await isReady(first)).toBe(true);
    await verifyByOpenssl(kit.cluster, third);
  });
  // Applied again, the manifest takes nothing away.
  const data = await readSecret();
  await admin(['apply', '-f', join(ROOT, 'deploy/base/secret.yaml')]);
  expect(await readSecret()).toEqual(data);
});

test('no private key stands in any log', async () => {
  const keys = Object.entries(await readSecret()).filter(([name]) => name.endsWith('.key'));
  const parts = keys.map(([, pem]) => pem.split('\n')[5] ?? '');
  expect(parts).toHaveLength(2);
  for (const ips of started) {
    const log = JSON.stringify(await ips.logLines());
    expect(log).toContain('certificate in use');
    expect(log).not.toMatch(/PRIVATE KEY/);
    for (const part of parts) expect(log).not.toContain(part);
  }
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
