import { describe, expect, test } from 'vitest';
import { pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import type { Metric } from './ips.ts';
import { deployment, eventsAbout, type Kit, type Pod, PREWARM, unique, WEB_NODES } from './kit.ts';

/** What IPS is for, in whatever form it runs. Both are there once the tests start. */
export function mainJob(running: () => { kit: Kit; metric: Metric }): void {
  describe('an annotated Deployment', () => {
    test('brings its images to every node of its nodeSelector and to no other, and its scale-up pulls nothing', async () => {
      const { kit } = running();
      const web = await pushTestImage(kit.cluster, `${unique('web')}:1`, 5_000_000, { executable: 'trace' });
      const side = await pushTestImage(kit.cluster, `${unique('side')}:1`, 1_000_000, {
        executable: 'trace',
      });
      await kit.apply(deployment('web', { annotations: PREWARM, images: [web, side], spec: WEB_NODES }));
      await kit.status('deployment/web', /^Warm 2\/2 nodes$/);

      expect(await kit.nodesWith(web)).toEqual(['node-a', 'node-b']);
      expect(await kit.nodesWith(side)).toEqual(['node-a', 'node-b']);

      const before = new Set((await kit.list<Pod>('pods')).map((pod) => pod.metadata.name));
      await kit.kubectl(['scale', 'deployment/web', '--replicas=6']);
      await kit.kubectl(['rollout', 'status', 'deployment/web', '--timeout=60s']);
      const added = (await kit.list<Pod>('pods', ['--selector', 'app=web'])).filter(
        (pod) => !before.has(pod.metadata.name),
      );
      expect(added.map((pod) => pod.spec.nodeName)).toEqual(expect.arrayContaining(['node-a', 'node-b']));
      expect(added).toHaveLength(5);
      for (const pod of added) {
        const messages = (await eventsAbout(kit, pod.metadata.name ?? '')).filter(
          (event) => event.reason === 'Pulled',
        );
        expect(messages.map((event) => event.message)).toEqual([
          expect.stringContaining(`image "${web}" already present on machine`),
          expect.stringContaining(`image "${side}" already present on machine`),
        ]);
      }
    });

    test('brings its images to the nodes of its required affinity and tolerations', async () => {
      const { kit } = running();
      const image = await pushTestImage(kit.cluster, `${unique('zone')}:1`, 1_000_000, {
        executable: 'trace',
      });
      const zone = { key: 'topology.kubernetes.io/zone', operator: 'In', values: ['zone-b'] };
      await kit.apply(
        deployment('zone', {
          annotations: PREWARM,
          images: [image],
          spec: {
            affinity: {
              nodeAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: {
                  nodeSelectorTerms: [{ matchExpressions: [zone] }],
                },
              },
            },
            tolerations: [{ key: 'dedicated', operator: 'Exists' }],
          },
        }),
      );
      await kit.status('deployment/zone', /^Warm 2\/2 nodes$/);
      expect(await kit.nodesWith(image)).toEqual(['node-b', 'node-c']);
    });

    test('leaves a tainted node out without a toleration, and a cordoned one', async () => {
      const { kit } = running();
      const image = await pushTestImage(kit.cluster, `${unique('cordon')}:1`, 1_000_000);
      await kit.kubectl(['cordon', 'node-b']);
      try {
        await kit.apply(deployment('cordon', { annotations: PREWARM, replicas: 0, images: [image] }));
        await kit.status('deployment/cordon', /^Warm 1\/1 nodes$/);
        expect(await kit.nodesWith(image)).toEqual(['node-a']);
      } finally {
        await kit.kubectl(['uncordon', 'node-b']);
      }
      // A node that becomes eligible opens a round for itself alone.
      await kit.status('deployment/cordon', /^Warm 2\/2 nodes$/);
      expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
    });

    test('with images that are there already makes no Job', async () => {
      const { kit } = running();
      // Large, because a node lists its 50 largest images only.
      const image = await pushTestImage(kit.cluster, `${unique('shared')}:1`, 40_000_000);
      await kit.apply(
        deployment('first', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }),
      );
      await kit.status('deployment/first', /^Warm 2\/2/);
      await waitFor(
        'the nodes to report the image',
        async () => {
          const nodes = await kit.kubectl(['get', 'nodes', '--selector', 'pool=web', '-o', 'json']);
          return nodes.split(`"${image}"`).length - 1 === 2;
        },
        { timeoutMs: 90_000, everyMs: 1000 },
      );
      const jobs = await running().metric('ips_job_creation_total', 'result="created"');
      // Another fingerprint (a toleration more), the same images and nodes.
      const spec = { ...WEB_NODES, tolerations: [{ key: 'other', operator: 'Exists' }] };
      await kit.apply(deployment('second', { annotations: PREWARM, replicas: 0, images: [image], spec }));
      await kit.status('deployment/second', /^Warm 2\/2/);
      expect(await running().metric('ips_job_creation_total', 'result="created"')).toBe(jobs);
    });
  });

  oneTaskEach(running);
}

export function oneTaskEach(running: () => { kit: Kit; metric: Metric }): void {
  describe('one task each', () => {
    test('for an annotated bare Pod, before and after it is scheduled', async () => {
      const { kit } = running();
      const image = await pushTestImage(kit.cluster, `${unique('bare')}:1`, 1_000_000, {
        executable: 'trace',
      });
      await kit.apply({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'bare', annotations: PREWARM },
        spec: { ...WEB_NODES, terminationGracePeriodSeconds: 0, containers: [{ name: 'c', image }] },
      });
      await kit.status('pod/bare', /^Warm 2\/2 nodes$/);
      await kit.kubectl(['wait', '--for=condition=Ready', 'pod/bare', '--timeout=60s']);
      expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
      const tasks = (await kit.tasks()).filter((task) => task.spec.images[0]?.image === image);
      expect(tasks.map((task) => [task.status?.phase, task.status?.round])).toEqual([['Warm', 1]]);
    });

    test('for a Pod whose user set nodeName: that node and no other', async () => {
      const { kit } = running();
      const image = await pushTestImage(kit.cluster, `${unique('pinned')}:1`, 1_000_000, {
        executable: 'trace',
      });
      await kit.apply({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'pinned', annotations: PREWARM },
        spec: { nodeName: 'node-b', terminationGracePeriodSeconds: 0, containers: [{ name: 'c', image }] },
      });
      await kit.status('pod/pinned', /^Warm 1\/1 nodes$/);
      expect(await kit.nodesWith(image)).toEqual(['node-b']);
    });

    test('for an annotated template under an unannotated Deployment with 10 replicas', async () => {
      const { kit } = running();
      const image = await pushTestImage(kit.cluster, `${unique('template')}:1`, 1_000_000, {
        executable: 'trace',
      });
      await kit.apply(
        deployment('template', {
          templateAnnotations: PREWARM,
          replicas: 10,
          images: [image],
          spec: WEB_NODES,
        }),
      );
      await kit.status('deployment/template', /^Warm 2\/2 nodes$/);
      await kit.kubectl(['rollout', 'status', 'deployment/template', '--timeout=90s']);
      const tasks = (await kit.tasks()).filter((task) => task.spec.images[0]?.image === image);
      expect(
        tasks.map((task) => [task.metadata.ownerReferences?.map((owner) => owner.kind), task.status?.round]),
      ).toEqual([[['Deployment'], 1]]);
      const labelled = await kit.list<Pod>('pods', ['--selector', 'ips/prewarm=true,app=template']);
      expect(labelled).toEqual([]);
    });
  });
}
