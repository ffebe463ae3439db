import { afterAll, beforeAll, describe } from 'vitest';
import { type Ips, startIps } from './ips.ts';
import { createKit, type Kit, STRATEGIES } from './kit.ts';
import { mainJob } from './main-job.suite.ts';

describe.each(STRATEGIES)('with %s', (strategy) => {
  let kit: Kit;
  let ips: Ips;

  beforeAll(async () => {
    kit = await createKit('main-job');
    ips = await startIps(kit.cluster, { env: { PULL_STRATEGY: strategy } });
  });

  afterAll(async () => {
    await ips?.stop();
    await kit?.remove();
  });

  mainJob(() => ({ kit, metric: ips.metric }));
});
