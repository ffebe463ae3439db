import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { type Cluster, kubectl } from '../cluster/cluster.ts';
import { pushRedisImage } from '../cluster/image.ts';
import { podProcesses } from '../cluster/processes.ts';
import { tagImage } from '../cluster/registry.ts';
import { waitFor } from '../cluster/run.ts';
import { whileApplying } from './apply-stream.ts';
import { failedOpen, imageOf, installAsPods, rolledOut } from './installed.ts';
import type { Kit } from './kit.ts';

type Pod = KubernetesObject & {
  spec: { nodeName: string; containers: { image: string }[] };
  status: { conditions?: { type: string; status: string }[] };
};

/** A slow machine starts six pods one after another. */
const TIMEOUT_MS = 240_000;

const PASSWORD = 'of-the-test-alone';
const SERVERS = [0, 1, 2];
/** As the test writes them into the Services, so that names can be had without a DNS server in the test cluster. */
const serverAddress = (index: number) => `10.96.77.${index + 1}`;

/** deploy/overlays/ha in the place of deploy/, as an operator would bring it, on a cluster that IPS already runs on. */
export function highAvailability(given: () => { kit: Kit; image: string }): void {
  const pods = async (app: string): Promise<Pod[]> => {
    const args = ['-n', 'ips-system', 'get', 'pods', '-l', `app=${app}`, '-o', 'json'];
    return JSON.parse(await kubectl(given().kit.cluster, args)).items;
  };

  /** So many, all ready and none about to go; gives them. */
  const settled = (app: string, count = 3) =>
    waitFor(
      `${count} pods of ${app}, all ready`,
      async () => {
        const found = await pods(app);
        const states = found.map((pod) => (pod.metadata.deletionTimestamp ? 'ending' : readiness(pod)));
        if (states.length === count && states.every((state) => state === 'True')) return found;
        throw new Error(states.join());
      },
      { timeoutMs: TIMEOUT_MS, everyMs: 300 },
    );

  /** Each replica works with all three servers. */
  const coordinated = async (): Promise<void> => {
    for (const { metadata } of await settled('ips')) {
      await waitFor(`${metadata.name} to coordinate by Redis`, async () => {
        const path = `/api/v1/namespaces/ips-system/pods/${metadata.name}:8080/proxy/readyz`;
        const { checks } = JSON.parse(await kubectl(given().kit.cluster, ['get', '--raw', path]));
        if (checks.coordination === 'ok') return true;
        throw new Error(checks.coordination);
      });
    }
  };

  let redis = '';

  const redisCli = async (pod: string, args: string[]): Promise<string> => {
    const command = ['exec', pod, '--', 'redis-cli', '-e', ...args];
    return (await kubectl(given().kit.cluster, ['-n', 'ips-system', ...command])).trim();
  };

  async function install(image: string): Promise<void> {
    const { cluster } = given().kit;
    redis ||= await pushRedisImage(cluster);
    await installAsPods(cluster, image, {
      overlay: 'overlays/ha',
      images: [imageOf('redis', redis)],
      patches: thisCluster(),
    });
  }

  describe('deploy/overlays/ha', { timeout: 2 * TIMEOUT_MS }, () => {
    test('takes the place of one replica, and no apply is missed', async () => {
      const { kit, image } = given();
      await makeVolumes(kit.cluster);
      await whileApplying(kit, async () => {
        await install(image);
        // As late as an operator may: until then what is there goes on.
        const secret = ['create', 'secret', 'generic', 'ips-redis', `--from-literal=password=${PASSWORD}`];
        await kubectl(kit.cluster, ['-n', 'ips-system', ...secret]);
        await settled('ips');
        await settled('ips-redis');
      });
    });

    test('coordinates by all three Redis servers', coordinated);

    test('is spread over the nodes', async () => {
      for (const app of ['ips', 'ips-redis']) {
        const nodes = new Set((await settled(app)).map(({ spec }) => spec.nodeName));
        expect([app, [...nodes].sort()]).toEqual([app, ['node-a', 'node-b']]);
      }
    });

    test('lets nobody into Redis without the password, which is seen nowhere', async () => {
      const { cluster } = given().kit;
      await expect(redisCli('ips-redis-0', ['--no-auth-warning', '-a', 'guessed', 'ping'])).rejects.toThrow(
        /NOAUTH|WRONGPASS/,
      );
      expect(await redisCli('ips-redis-0', ['ping'])).toBe('PONG');
      const commands = podProcesses(cluster, 'redis-server').map(({ command }) => command);
      expect(commands).toHaveLength(3);
      expect(commands.join()).not.toContain(PASSWORD);
      for (const what of ['statefulset/ips-redis', 'deployment/ips']) {
        expect(await kubectl(cluster, ['-n', 'ips-system', 'logs', what])).not.toContain(PASSWORD);
      }
    });

    test('gives neither account a right to that Secret, and that of Redis none at all', async () => {
      const { cluster } = given().kit;
      for (const [account, verb, what] of [
        ['ips', 'get', 'secret/ips-redis'],
        ['ips', 'update', 'secret/ips-redis'],
        ['ips', 'list', 'secrets'],
        ['ips-redis', 'get', 'secret/ips-redis'],
        ['ips-redis', 'list', 'pods'],
      ] as const) {
        const as = `system:serviceaccount:ips-system:${account}`;
        const asked = kubectl(cluster, ['-n', 'ips-system', 'auth', 'can-i', verb, what, '--as', as]);
        await expect(asked).rejects.toMatchObject({ stdout: 'no\n' });
      }
    });

    test('is updated to another image, and no apply is missed', async () => {
      const { kit, image } = given();
      const next = await tagImage(kit.cluster.registry, image, 'next');
      await whileApplying(kit, async () => {
        await install(next);
        await rolledOut(kit.cluster);
        const images = (await settled('ips')).map(({ spec }) => spec.containers[0]?.image);
        expect(images).toEqual([next, next, next]);
      });
    });

    test('leaves a node that is drained, and no apply is missed', async () => {
      const { kit } = given();
      await whileApplying(kit, async () => {
        const drain = ['drain', 'node-a', '--ignore-daemonsets', '--delete-emptydir-data', '--force'];
        const drained = () => kubectl(kit.cluster, [...drain, '--timeout=60s']);
        await waitFor('node-a to be drained', drained, { timeoutMs: TIMEOUT_MS });
        for (const app of ['ips', 'ips-redis']) {
          const nodes = (await settled(app)).map(({ spec }) => spec.nodeName);
          expect([app, nodes]).toEqual([app, ['node-b', 'node-b', 'node-b']]);
        }
        await kubectl(kit.cluster, ['uncordon', 'node-a']);
      });
    });

    test('misses no apply while one Redis server after another, and then all of them, are killed', async () => {
      const { kit } = given();
      const kill = (...names: string[]) => {
        const args = ['delete', 'pod', '--grace-period=0', '--force', ...names];
        return kubectl(kit.cluster, ['-n', 'ips-system', ...args]);
      };
      for (const index of SERVERS) await redisCli(`ips-redis-${index}`, ['set', 'kept', String(index)]);
      await whileApplying(kit, async () => {
        await kill('ips-redis-0');
        await settled('ips-redis');
        await kill(...SERVERS.map((index) => `ips-redis-${index}`));
        await settled('ips-redis');
      });
      await coordinated();
      // Each kept its own, and nothing of the others.
      for (const index of SERVERS)
        expect(await redisCli(`ips-redis-${index}`, ['get', 'kept'])).toBe(`${index}`);
    });

    test('was never passed over by the API server', async () => {
      expect(await failedOpen(given().kit.cluster)).toEqual([]);
    });
  });
}

function readiness({ status }: Pod): string {
  return status.conditions?.find(({ type }) => type === 'Ready')?.status ?? 'unknown';
}

/** Disks for the servers; the nodes are folders of one machine, so each is at hand on every node. */
async function makeVolumes(cluster: Cluster): Promise<void> {
  for (const index of SERVERS) {
    const path = join(cluster.folder, `redis-${index}`);
    await mkdir(path);
    // What a storage driver does by fsGroup, nobody does for a folder of the host.
    await chown(path, 999, 999);
    const volume = {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: `redis-${index}`, labels: { 'made-by': 'test' } },
      spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path } },
    };
    await kubectl(cluster, ['apply', '-f', '-'], JSON.stringify(volume));
  }
}

export async function removeVolumes(cluster: Cluster): Promise<void> {
  await kubectl(cluster, ['delete', 'persistentvolumes', '-l', 'made-by=test', '--timeout=60s']);
}

const CONTAINER = '/spec/template/spec/containers/0';

/** What the test cluster has otherwise: no DNS server, and too little of a processor for time-outs of 2 s to tell. */
function thisCluster(): object[] {
  const services = SERVERS.map((index) => ({
    target: { kind: 'Service', name: `ips-redis-${index}` },
    patch: JSON.stringify([{ op: 'add', path: '/spec/clusterIP', value: serverAddress(index) }]),
  }));
  const hostAliases = SERVERS.map((index) => ({
    ip: serverAddress(index),
    hostnames: [`ips-redis-${index}`],
  }));
  return [
    ...services,
    {
      target: { kind: 'Deployment', name: 'ips' },
      patch: JSON.stringify([
        { op: 'add', path: '/spec/template/spec/hostAliases', value: hostAliases },
        { op: 'replace', path: `${CONTAINER}/readinessProbe/timeoutSeconds`, value: 10 },
        { op: 'replace', path: `${CONTAINER}/livenessProbe/timeoutSeconds`, value: 30 },
      ]),
    },
    {
      target: { kind: 'MutatingWebhookConfiguration', name: 'ips' },
      patch: JSON.stringify([
        { op: 'test', path: '/webhooks/0/name', value: 'workloads.ips.dev' },
        { op: 'replace', path: '/webhooks/0/timeoutSeconds', value: 10 },
      ]),
    },
  ];
}
