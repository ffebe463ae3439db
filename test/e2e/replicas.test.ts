import { afterAll, beforeAll, expect, test } from 'vitest';
import { pushTestImage } from '../cluster/cluster.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';
import { type Replicas, startReplicas } from './replicas.ts';

let kit: Kit;
let replicas: Replicas;

beforeAll(async () => {
  kit = await createKit('replicas');
  replicas = await startReplicas(kit.cluster, { count: 3 });
});

afterAll(async () => {
  await replicas?.stop();
  await kit?.remove();
});

test('replicas behind one address admit and warm', async () => {
  const image = await pushTestImage(kit.cluster, `${unique('web')}:1`, 1_000_000);
  await kit.apply(deployment('web', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }));
  await kit.status('deployment/web', /^Warm 2\/2/);
  const [first] = replicas.all;
  await first?.kill();
  await replicas.ready(2);
  await kit.apply(
    deployment('web2', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }),
  );
  await kit.status('deployment/web2', /^Warm 2\/2/);
  await first?.start();
  await replicas.ready(3);
  expect(await first?.stop()).toBe(0);
  await replicas.ready(2);
});
