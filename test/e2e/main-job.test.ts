import { afterAll, beforeAll } from 'vitest';
import { type Ips, startIps } from './ips.ts';
import { createKit, type Kit } from './kit.ts';
import { mainJob } from './main-job.suite.ts';

let kit: Kit;
let ips: Ips;

beforeAll(async () => {
  kit = await createKit('main-job');
  ips = await startIps(kit.cluster);
});

afterAll(async () => {
  await ips?.stop();
  await kit?.remove();
});

mainJob(() => ({ kit, metric: ips.metric }));
