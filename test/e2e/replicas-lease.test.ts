import { afterAll, beforeAll, expect, test } from 'vitest';
import { kubectl, pushTestImage } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';
import { oneTaskEach } from './main-job.suite.ts';
import { type Replica, type Replicas, startReplicas } from './replicas.ts';

/** Three replicas without Redis: the one that has the Lease does the work. */

/** As deploy/components/lease has them. */
const NEEDED = [
  { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'ips', namespace: 'ips-system' } },
  {
    ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role' },
    metadata: { name: 'ips-lease', namespace: 'ips-system' },
    rules: [
      {
        ...{ apiGroups: ['coordination.k8s.io'], resources: ['leases'] },
        ...{ resourceNames: ['ips'], verbs: ['get', 'watch', 'update'] },
      },
    ],
  },
  {
    ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding' },
    metadata: { name: 'ips-lease', namespace: 'ips-system' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'ips-lease' },
    subjects: [{ kind: 'ServiceAccount', name: 'ips', namespace: 'ips-system' }],
  },
];

let kit: Kit;
let replicas: Replicas;

beforeAll(async () => {
  kit = await createKit('lease');
  const list = { apiVersion: 'v1', kind: 'List', items: NEEDED };
  await kubectl(kit.cluster, ['apply', '-f', '-'], JSON.stringify(list));
  replicas = await startReplicas(kit.cluster, { count: 3, env: { COORDINATION: 'lease' } });
});

afterAll(async () => {
  await replicas?.stop();
  if (kit) {
    const names = ['role/ips-lease', 'rolebinding/ips-lease', 'lease/ips'];
    await kubectl(kit.cluster, ['--namespace', 'ips-system', 'delete', ...names]);
  }
  await kit?.remove();
});

oneTaskEach(() => ({ kit, metric: replicas.metric }));

/** By what they did. */
async function leaders(): Promise<Replica[]> {
  const running = replicas.all.filter((each) => each.running);
  const made = await Promise.all(
    running.map(({ ips }) => ips.metric('ips_job_creation_total', 'result="created"')),
  );
  return running.filter((_, index) => (made[index] ?? 0) > 0);
}

test('one replica did it all, and another goes on when that ends', async () => {
  const [leader, ...others] = await leaders();
  expect(others).toEqual([]);
  expect(await leader?.stop()).toBe(0);
  const image = await pushTestImage(kit.cluster, `${unique('next')}:1`, 1_000_000);
  await kit.apply(
    deployment('next', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }),
  );
  await kit.status('deployment/next', /^Warm 2\/2 nodes$/);
  expect(await leaders()).toHaveLength(1);
  await waitFor('the others to say that all is well', async () => {
    const answers = await Promise.all(
      replicas.all.filter((each) => each.running).map(({ ips }) => fetch(`${ips.url}/readyz`)),
    );
    const texts = await Promise.all(answers.map((answer) => answer.text()));
    return texts.every((text) => /"coordination":"ok"/.test(text));
  });
});
