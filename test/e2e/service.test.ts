import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { kubectl, pushTestImage } from '../cluster/cluster.ts';
import { run, waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, eventsAbout, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';

let kit: Kit;
let ips: Ips | undefined;
let image: string;

beforeAll(async () => {
  kit = await createKit('service');
  image = await pushTestImage(kit.cluster, `${unique('service')}:1`, 1_000_000);
});

afterAll(async () => {
  await ips?.stop();
  await kit?.remove();
});

test('kubectl tells the story: describe, Events and the columns of get pwt', async () => {
  ips = await startIps(kit.cluster);
  await kit.apply(
    deployment('story', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }),
  );
  const annotations = await kit.status('deployment/story', /^Warm 2\/2 nodes$/);
  expect(annotations['ips/last-warmed']).toMatch(/^20\d\d-\d\d-\d\dT/);
  const described = await waitFor('the Event that the images are there', async () => {
    const text = await kit.kubectl(['describe', 'deployment', 'story']);
    return text.includes('Prewarmed') && text;
  });
  expect(described).toMatch(/ips\/status: Warm 2\/2 nodes/);
  expect(described).toMatch(/Prewarming .* ips +Bringing 1 image to 2 of 2 nodes/);
  expect(described).toMatch(/Prewarmed .* ips +1 image on 2 of 2 nodes, after \d+\.\d s/);
  const rows = (await kit.kubectl(['get', 'pwt']))
    .trim()
    .split('\n')
    .map((row) => row.split(/\s{2,}/));
  expect(rows[0]).toEqual(['NAME', 'PHASE', 'WARM', 'WARMING', 'FAILED', 'MESSAGE', 'AGE']);
  expect(rows[1]?.slice(0, 5)).toEqual([annotations['ips/task'], 'Warm', '2/2', '0', '0']);
  expect((await eventsAbout(kit, 'story')).map((event) => event.reason)).toEqual(['Prewarming', 'Prewarmed']);
});

test('health, readiness and every metric are there', async () => {
  const text = async (path: string) => (await fetch(`${ips?.url}${path}`)).text();
  expect(JSON.parse(await text('/healthz'))).toEqual({ status: 'ok' });
  expect(JSON.parse(await text('/readyz'))).toEqual({
    ready: true,
    checks: { informers: 'ok', authority: 'ok', coordination: 'ok' },
  });
  const metrics = await text('/metrics');
  const samples = [
    /^ips_tasks_total\{status="Warm"\} [1-9]/m,
    /^ips_active_tasks 0$/m,
    /^ips_task_duration_seconds_count\{status="Warm"\} [1-9]/m,
    /^ips_nodes_processed_total\{result="warm"\} [1-9]/m,
    /^ips_batch_execution_duration_seconds_count [1-9]/m,
    /^ips_job_creation_total\{result="created"\} [1-9]/m,
    /^ips_images_pulled_total [1-9]/m,
    /^ips_admission_requests_total\{result="labelled"\} [1-9]/m,
    /^ips_admission_duration_seconds_count [1-9]/m,
    /^ips_build_info\{version="\d+\.\d+\.\d+",node_version="v\d+/m,
  ];
  for (const sample of samples) expect(metrics).toMatch(sample);
});

test('no token or password stands in the log', async () => {
  const log = JSON.stringify(await ips?.logLines());
  expect(log).toContain('round ended');
  expect(log).not.toMatch(/eyJ[A-Za-z0-9_-]{20}|BEGIN [A-Z ]*PRIVATE KEY|authorization/i);
});

test('/readyz says at once that a replica ends, while it goes on', async () => {
  await ips?.stop();
  const other = await startIps(kit.cluster, { env: { DRAIN_SECONDS: '300' } });
  const ended = other.stop();
  const readiness = await waitFor('IPS to be no longer ready', async () => {
    const answer = await fetch(`${other.url}/readyz`);
    return answer.status === 503 && ((await answer.json()) as { checks: object });
  });
  expect(readiness.checks).toMatchObject({ ending: 'this replica was told to end' });
  await kit.apply(deployment('late', { annotations: PREWARM, replicas: 0, images: [image] }));
  expect((await kit.get<KubernetesObject>('deployment', 'late')).metadata.labels).toEqual(PREWARM);
  // Told twice, it waits no longer.
  await other.stop();
  expect(await ended).toBe(1);
  ips = await startIps(kit.cluster);
});

test('wrong settings are all told at once, with exit code 2', async () => {
  const main = join(import.meta.dirname, '../../src/main.ts');
  const env = { PATH: process.env['PATH'], SERVER_PORT: 'eighty', MAX_ACTIVE_TASKS: '0', LOG_LEVEL: 'loud' };
  const failure = await run(process.execPath, [main], { env }).catch(
    (error: { code: number; stderr: string }) => error,
  );
  expect(failure).toMatchObject({ code: 2 });
  const told = (failure as { stderr: string }).stderr.trim().split('\n');
  expect(told).toEqual([
    'ips: SERVER_PORT (--server-port): "eighty" must be a whole number from 0 to 65535',
    'ips: MAX_ACTIVE_TASKS (--max-active-tasks): "0" must be a whole number from 1 to 1000',
    'ips: LOG_LEVEL (--log-level): "loud" must be one of trace, debug, info, warn, error, fatal',
  ]);
});

test('without the webhook configuration nothing is warmed and /readyz says why; with it work begins', async () => {
  await ips?.stop();
  await kubectl(kit.cluster, ['delete', 'mutatingwebhookconfiguration', 'ips']);
  const other = await pushTestImage(kit.cluster, `${unique('unready')}:1`, 1_000_000);
  await kit.apply(
    deployment('unready', { annotations: PREWARM, replicas: 0, images: [other], spec: WEB_NODES }),
  );
  ips = await startIps(kit.cluster, { webhook: false });
  const { url } = ips;
  await waitFor('IPS to say what it lacks', async () => {
    const { checks } = (await (await fetch(`${url}/readyz`)).json()) as { checks: { authority: string } };
    return (
      checks.authority ===
      'MutatingWebhookConfiguration ips is not there: apply deploy/ again (kubectl apply -k deploy/)'
    );
  });
  expect((await fetch(`${url}/readyz`)).status).toBe(503);
  const images = (await kit.tasks()).flatMap(({ spec }) => spec.images.map((each) => each.image));
  expect(images).not.toContain(other);
  await ips.installWebhook();
  await kit.status('deployment/unready', /^Warm 2\/2/);
});
