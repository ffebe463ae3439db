import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { expect } from 'vitest';
import type { WebhookConfiguration } from '../../src/certs/ca-bundle.ts';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { type Cluster, kubectl } from '../cluster/cluster.ts';
import { run } from '../cluster/run.ts';
import type { Ips } from './ips.ts';
import { deployment, type Kit, PREWARM, unique } from './kit.ts';

/** A replica looks at the Secret every 10 s, at files every 5 s, and waits 8 s for a CA to be known. */
export const SLOW = { timeoutMs: 60_000, everyMs: 200 };

/** What each webhook trusts, as PEM. */
export async function bundles(cluster: Cluster): Promise<string[]> {
  const text = await kubectl(cluster, ['get', 'mutatingwebhookconfiguration', 'ips', '-o', 'json']);
  const { webhooks = [] } = JSON.parse(text) as WebhookConfiguration;
  return webhooks.map(({ clientConfig }) => Buffer.from(clientConfig?.caBundle ?? '', 'base64').toString());
}

/** Connects anew, trusting `ca` alone; gives the certificate that IPS shows, or fails. */
function shown(cluster: Cluster, { webhookPort: port }: Ips, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: cluster.sandbox.hostAddress, port, ca }, () => {
      resolve(socket.getPeerX509Certificate()?.toString() ?? '');
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

/** What IPS shows to a client that trusts what the webhooks trust now. */
export async function shownNow(cluster: Cluster, ips: Ips): Promise<string> {
  return shown(cluster, ips, (await bundles(cluster)).join(''));
}

/** From outside, by another implementation: OpenSSL at its strictest accepts what is served, under each webhook's CAs. */
export async function verifyByOpenssl(cluster: Cluster, ips: Ips): Promise<void> {
  const { hostAddress } = cluster.sandbox;
  const file = join(cluster.folder, `bundle-${ips.webhookPort}.pem`);
  for (const bundle of await bundles(cluster)) {
    await writeFile(file, bundle);
    const strict = ['-x509_strict', '-verify_return_error', '-verify_ip', hostAddress, '-CAfile', file];
    const to = ['-connect', `${hostAddress}:${ips.webhookPort}`];
    const output = await run('openssl', ['s_client', ...to, ...strict], { input: '' });
    expect(output).toContain('Verify return code: 0 (ok)');
  }
}

/** How often the API server went on without IPS, or turned a warmer away, because it could not call us. */
async function missedCalls(cluster: Cluster): Promise<number> {
  const metrics = await kubectl(cluster, ['get', '--raw', '/metrics']);
  const lines = metrics.split('\n').filter((line) => {
    if (line.startsWith('apiserver_admission_webhook_fail_open_count{')) return line.includes('.ips.dev"');
    return /^apiserver_admission_webhook_rejection_count\{.*calling_webhook_error.*\.ips\.dev"/.test(line);
  });
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

/** How far an API server may lag behind with a caBundle, and still trust what it sees. */
const LAG_MS = 3_000;

/**
 * Applies one Deployment after another, and connects anew to each replica all the time, while `change` goes on. Every
 * Deployment has to come back labelled, and every replica has to show what every webhook trusted some seconds before.
 */
export async function whileAppliesFlow(
  kit: Kit,
  replicas: Ips[],
  change: () => Promise<void>,
): Promise<void> {
  const { cluster } = kit;
  const missed = await missedCalls(cluster);
  const applied: Record<string, unknown> = {};
  const refused: string[] = [];
  let over = false;
  const flow = async () => {
    while (!over) {
      const name = unique('flow');
      const object = deployment(name, {
        annotations: PREWARM,
        replicas: 0,
        images: ['registry.invalid/flow:1'],
        spec: { nodeSelector: { pool: 'none' } },
      });
      const stored = JSON.parse(await kit.apply(object, ['-o', 'json'])) as KubernetesObject;
      applied[name] = stored.metadata.labels;
    }
  };
  const newConnections = async () => {
    const history: { at: number; trusted: string[] }[] = [];
    while (!over) {
      history.push({ at: performance.now(), trusted: await bundles(cluster) });
      while (history[1] && history[1].at <= performance.now() - LAG_MS) history.shift();
      const pairs = (history[0]?.trusted ?? []).flatMap((bundle) => replicas.map((ips) => ({ ips, bundle })));
      const answers = await Promise.allSettled(pairs.map(({ ips, bundle }) => shown(cluster, ips, bundle)));
      refused.push(
        ...answers.flatMap((answer) => (answer.status === 'rejected' ? String(answer.reason) : [])),
      );
    }
  };
  const streams = Promise.all([flow(), newConnections()]);
  // Told below, after what `change` has to tell.
  streams.catch(() => {});
  await change().finally(() => {
    over = true;
  });
  await streams;
  expect(Object.values(applied).length).toBeGreaterThan(3);
  expect(applied).toEqual(Object.fromEntries(Object.keys(applied).map((name) => [name, PREWARM])));
  expect(refused).toEqual([]);
  expect(await missedCalls(cluster)).toBe(missed);
}
