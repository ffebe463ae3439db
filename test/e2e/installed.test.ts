import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAuthority, issueServingCertificate } from '../../src/certs/authority.ts';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { type Cluster, kubectl, pushTestImage, startCluster, stopCluster } from '../cluster/cluster.ts';
import { pushIpsImage } from '../cluster/image.ts';
import { runBoth, waitFor } from '../cluster/run.ts';
import { whileApplying } from './apply-stream.ts';
import { highAvailability, removeVolumes } from './ha.suite.ts';
import {
  auditOf,
  defineOthersResources,
  everything,
  failedOpen,
  grantedRules,
  installAsPods,
  metricOfPods,
  rolledOut,
  throughPortForward,
  usesOf,
} from './installed.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';
import { mainJob } from './main-job.suite.ts';
import { useEveryRight } from './rights.ts';
import { cloneSet, defineCustomResource, KINDS } from './workloads.ts';

/** A cluster of its own: here IPS comes and goes, and everything else on the cluster must be as it was. */
let cluster: Cluster;
let image: string;
let kit: Kit;
let before: string[];

beforeAll(async () => {
  cluster = await startCluster({ name: `installed-${process.pid}`, lifeline: true, say: console.error });
  image = await pushIpsImage(cluster);
  await defineOthersResources(cluster);
  await defineCustomResource(cluster, 'rollouts.argoproj.io', 'Rollout');
  await defineCustomResource(cluster, 'clonesets.apps.kruise.io', 'CloneSet');
  kit = await createKit('installed', cluster);
  before = await everything(cluster);
  await installAsPods(cluster, image);
  await rolledOut(cluster);
}, 240_000);

afterAll(async () => {
  if (cluster) await stopCluster(cluster);
});

/** A caller of the REST API who may not read nodes: IPS asks the API server who that is, and what they may. */
async function askWithoutRights(): Promise<void> {
  const token = (await kit.kubectl(['create', 'token', 'default'])).trim();
  const asked = await throughPortForward(cluster, (url) =>
    fetch(`${url}/api/v1/nodes`, { headers: { authorization: `Bearer ${token}` } }),
  );
  expect(asked.status).toBe(403);
}

async function oldPodsGone(): Promise<void> {
  await waitFor('the old pod to go', async () => {
    const pods = await kubectl(cluster, ['-n', 'ips-system', 'get', 'pods', '-o', 'name']);
    return pods.trim().split('\n').length === 1;
  });
}

describe('IPS in pods of its own image', () => {
  test('runs without root, without a shell and without a writable file', async () => {
    const { items } = JSON.parse(await kubectl(cluster, ['-n', 'ips-system', 'get', 'pods', '-o', 'json']));
    expect(items).toHaveLength(1);
    const [pod] = items as [
      { metadata: { name: string }; spec: { containers: object[]; securityContext: object } },
    ];
    expect(pod.spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 65532 });
    expect(pod.spec.containers).toEqual([
      expect.objectContaining({
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
      }),
    ]);
    const shell = kubectl(cluster, [
      '-n',
      'ips-system',
      'exec',
      pod.metadata.name,
      '--',
      '/bin/sh',
      '-c',
      'true',
    ]);
    await expect(shell).rejects.toThrow(/no such file or directory/);
  });

  mainJob(() => ({ kit, metric: metricOfPods(cluster) }));

  test('is under 200 MB on the node', async () => {
    type Listing = { items: { status: { images?: { names: string[]; sizeBytes: number }[] } }[] };
    const listed = await waitFor(
      'a node to report the image',
      async () => {
        const { items } = JSON.parse(await kubectl(cluster, ['get', 'nodes', '-o', 'json'])) as Listing;
        return items.flatMap(({ status }) => status.images ?? []).find(({ names }) => names.includes(image));
      },
      { timeoutMs: 90_000, everyMs: 1000 },
    );
    expect(listed.sizeBytes).toBeLessThan(200_000_000);
  });

  test('is replaced while applies flow, and misses none of them', async () => {
    await whileApplying(kit, async () => {
      await kubectl(cluster, ['-n', 'ips-system', 'rollout', 'restart', 'deployment/ips']);
      await rolledOut(cluster);
      await oldPodsGone();
    });
    expect(await failedOpen(cluster)).toEqual([]);
  });
});

describe('IPS with certificates of another authority', () => {
  test('takes those that cert-manager puts into a Secret, and its own again, and misses no apply', async () => {
    const names = { dnsNames: ['ips.ips-system.svc'], ipAddresses: [], now: new Date(), validityDays: 30 };
    const authority = await createAuthority({ commonName: 'Another CA', now: new Date(), validityDays: 90 });
    const { cert, key } = await issueServingCertificate({ authority, ...names });
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'ips-serving', namespace: 'ips-system' },
    };
    const stringData = { 'tls.crt': cert, 'tls.key': key, 'ca.crt': authority.cert };
    await kubectl(cluster, ['apply', '-f', '-'], JSON.stringify({ ...secret, stringData }));

    await whileApplying(kit, async () => {
      await installAsPods(cluster, image, { components: ['cert-manager'] });
      await rolledOut(cluster);
      await oldPodsGone();
      const bundles = await kubectl(cluster, [
        ...[
          'get',
          'mutatingwebhookconfiguration',
          'ips',
          '-o',
          'jsonpath={.webhooks[0].clientConfig.caBundle}',
        ],
      ]);
      expect(Buffer.from(bundles, 'base64').toString()).toContain(authority.cert.trim());
      const expiry = await metricOfPods(cluster)(
        'ips_certificate_expiry_timestamp_seconds',
        'certificate="serving"',
      );
      expect(expiry).toBe(new X509Certificate(cert).validToDate.getTime() / 1000);
      await installAsPods(cluster, image);
      await rolledOut(cluster);
      await oldPodsGone();
    });
    expect(await failedOpen(cluster)).toEqual([]);
  });
});

describe("IPS's own account", () => {
  test('is allowed what IPS does and nothing else', async () => {
    const rules = await grantedRules(cluster);
    expect(JSON.stringify(rules)).not.toContain('*');
    const secrets = rules.filter(({ resources }) => resources?.includes('secrets'));
    expect(secrets.map(({ resourceNames }) => resourceNames)).toEqual([['ips-certificates']]);

    await useEveryRight(kit);
    await askWithoutRights();
    const granted = usesOf(rules);
    await waitFor('every right to be used', async () => {
      const { used } = await auditOf(cluster);
      const unused = granted.filter((each) => !used.has(each));
      if (unused.length > 0) throw new Error(`not used: ${unused.join('; ')}`);
      return true;
    });
    const { used, refused } = await auditOf(cluster);
    expect(refused).toEqual([]);
    expect([...used].filter((each) => !granted.includes(each))).toEqual([]);
  });
});

highAvailability(() => ({ kit, image }));

describe('ips uninstall', () => {
  const uninstall = (args: string[]) =>
    runBoth(process.execPath, [join(import.meta.dirname, '../../src/main.ts'), 'uninstall', ...args], {
      env: { PATH: process.env['PATH'] ?? '', KUBECONFIG: cluster.kubeconfigFile },
    });

  test('tells with --dry-run what it would take away, and takes nothing', async () => {
    const { stdout } = await uninstall(['--dry-run']);
    expect(stdout).toContain('mutatingwebhookconfigurations/ips would be removed');
    expect(stdout.split('\n')[0]).toContain('mutatingwebhookconfigurations/ips');
    await kubectl(cluster, ['get', 'mutatingwebhookconfiguration', 'ips']);
  });

  test('takes the webhook away first, ends what is under way, and leaves nothing', async () => {
    const large = await pushTestImage(cluster, `${unique('large')}:1`, 300_000_000);
    await kit.apply(deployment('open', { annotations: PREWARM, images: [large], spec: WEB_NODES }));
    await kit.status('deployment/open', /^Warming/);
    const spec = { nodeSelector: { pool: 'nowhere' }, containers: [{ name: 'c', image: large }] };
    const kinds = Object.entries({ ...KINDS, CloneSet: cloneSet }).map(([kind, make]) => {
      return [kind, make(unique('leaving'), { annotations: PREWARM, spec })] as const;
    });
    for (const [, object] of kinds) await kit.apply(object);
    for (const [kind, { metadata }] of kinds) await kit.status(`${kind}/${metadata.name}`, /^Pending/);

    const { stdout } = await uninstall([]);
    expect(stdout.split('\n')[0]).toBe('mutatingwebhookconfigurations/ips removed');
    for (const [kind, name] of [
      ['Deployment', 'open'],
      ...kinds.map(([each, { metadata }]) => [each, metadata.name]),
    ]) {
      const { labels, annotations } = (await kit.get<KubernetesObject>(kind ?? '', name ?? '')).metadata;
      const ours = Object.keys({ ...labels, ...annotations }).filter((each) => each.startsWith('ips/'));
      expect([kind, ours]).toEqual([kind, ['ips/prewarm']]);
      expect([kind, labels?.['ips/prewarm']]).toEqual([kind, undefined]);
    }
    await kubectl(cluster, ['delete', 'namespace', kit.namespace, '--timeout=90s']);
    await removeVolumes(cluster);
    // What the API server makes of a custom resource by itself goes a moment later.
    await waitFor('everything to be as it was', async () => {
      const left = (await everything(cluster)).filter((each) => !before.includes(each));
      if (left.length > 0) throw new Error(`left: ${left.join('; ')}`);
      return true;
    });

    expect((await uninstall([])).stdout).toBe('nothing of IPS is in this cluster\n');
  });
});
