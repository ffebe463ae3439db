import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { PROMETHEUS_RULE, prometheusRule, RULES } from '../../scripts/prometheus-rule.ts';
import type { Job } from '../../src/domain/kubernetes.ts';
import { run, waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';
import { PROMTOOL, type Prometheus, startPrometheus } from './prometheus.ts';

const ROOT = join(import.meta.dirname, '../..');
const RULE_TESTS = join(RULES, '../tests');

type Rule = {
  alert: string;
  for?: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
};
const rules = (parse(readFileSync(RULES, 'utf8')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const alerts = [...new Set(rules.map((rule) => rule.alert))];

describe('the rules', () => {
  test('are right as promtool sees them', async () => {
    const told = await run(PROMTOOL, ['check', 'rules', '--lint=all', '--lint-fatal', RULES]);
    expect(told).toMatch(new RegExp(`SUCCESS: ${rules.length} rules found`));
  });

  test('are the same for the Prometheus Operator', () => {
    expect(readFileSync(PROMETHEUS_RULE, 'utf8')).toBe(prometheusRule());
    const { spec } = parse(readFileSync(PROMETHEUS_RULE, 'utf8'));
    expect(spec).toEqual(parse(readFileSync(RULES, 'utf8')));
  });

  test.each(rules)('$alert says how bad it is, what it is about, and what to do', (rule) => {
    expect(rule.labels['severity']).toMatch(/^(critical|warning)$/);
    expect(rule.annotations).toEqual({
      summary: expect.any(String),
      description: expect.any(String),
      runbook_url: `docs/runbooks/${rule.alert}.md`,
    });
    const runbook = readFileSync(join(ROOT, `docs/runbooks/${rule.alert}.md`), 'utf8');
    for (const heading of [`# ${rule.alert}`, '## What it means', '## See more', '## What to do'])
      expect(runbook.split('\n')).toContain(heading);
  });

  test('each has a runbook and tests, and nothing else has', () => {
    const namesIn = (folder: string, suffix: string) =>
      readdirSync(folder)
        .filter((file) => file !== 'README.md')
        .map((file) => basename(file, suffix))
        .sort();
    expect(namesIn(join(ROOT, 'docs/runbooks'), '.md')).toEqual(alerts.toSorted());
    expect(namesIn(RULE_TESTS, '.test.yaml')).toEqual(alerts.toSorted());
  });
});

type RuleTests = { tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[] };

describe('promtool test rules', () => {
  test.each(alerts)('%s fires when it should, and not when it should not', async (alert) => {
    const file = join(RULE_TESTS, `${alert}.test.yaml`);
    const { tests } = parse(readFileSync(file, 'utf8')) as RuleTests;
    const expected = tests.flatMap((each) => each.alert_rule_test);
    expect(new Set(expected.map((each) => each.alertname))).toEqual(new Set([alert]));
    expect(new Set(expected.map((each) => each.exp_alerts.length > 0))).toEqual(new Set([true, false]));
    expect(await run(PROMTOOL, ['test', 'rules', file])).toMatch(/SUCCESS/);
  });
});

describe('in a real Prometheus that scrapes a real IPS', () => {
  let kit: Kit;
  let ips: Ips | undefined;
  let prometheus: Prometheus | undefined;
  let failedJobs: FailedJobs | undefined;

  beforeAll(async () => {
    kit = await createKit('alerts');
    ips = await startIps(kit.cluster);
    // The shipped rules, but that none waits: `for: 15m` becomes `for: 1s`. What they ask for is as shipped.
    const rules = readFileSync(RULES, 'utf8').replaceAll(/^( +for): \d+m$/gm, '$1: 1s');
    prometheus = await startPrometheus(kit.cluster, ips.url, rules);
    failedJobs = watchFailedJobs(kit);
  });

  afterAll(async () => {
    failedJobs?.stop();
    await prometheus?.stop();
    await ips?.stop();
    await kit?.remove();
  });

  const firing = async (alert: string) =>
    (await prometheus?.alerts())?.filter(
      ({ labels, state }) => labels['alertname'] === alert && state === 'firing',
    ) ?? [];
  const firesAt = (alert: string, many = 1) =>
    waitFor(`${many} of ${alert} to fire`, async () => {
      const alerts = await firing(alert);
      return alerts.length >= many && alerts;
    });

  test('nothing fires on a fresh install that nobody uses', async () => {
    await waitFor(
      'IPS to be scraped',
      async () => (await prometheus?.query('min(ips_watch_synced)'))?.[0] === 1,
    );
    await waitFor('IPSDown to be over', async () => (await prometheus?.alerts())?.length === 0);
    // Every rule has been evaluated on what a fresh IPS tells.
    const scrapes = await prometheus?.query('count_over_time(ips_build_info[10m])');
    await waitFor('more scrapes', async () => {
      const [count = 0] = (await prometheus?.query('count_over_time(ips_build_info[10m])')) ?? [];
      return count > (scrapes?.[0] ?? 0) + 3;
    });
    expect(await prometheus?.alerts()).toEqual([]);
  });

  test('a workload whose image does not exist: IPSWorkloadFailed names it, and no other alert fires', async () => {
    const image = `${kit.cluster.registry.host}/${unique('typo')}:1`;
    await kit.apply(
      deployment('typo', { annotations: PREWARM, replicas: 0, images: [image], spec: WEB_NODES }),
    );
    await kit.status('deployment/typo', /^Failed 0\/2 nodes/);
    const [alert] = await firesAt('IPSWorkloadFailed');
    expect(alert).toMatchObject({
      labels: {
        ...{ severity: 'warning', namespace: kit.namespace, workload_namespace: kit.namespace },
        ...{ workload_kind: 'Deployment', workload: 'typo', image, reason: 'not found' },
      },
      annotations: {
        summary: `Deployment ${kit.namespace}/typo: ${image}: not found, on 2 nodes`,
        runbook_url: 'docs/runbooks/IPSWorkloadFailed.md',
      },
    });
    expect((await prometheus?.alerts())?.map(({ labels }) => labels['alertname'])).toEqual([
      'IPSWorkloadFailed',
    ]);
    await kit.kubectl(['delete', 'deployment', 'typo']);
  });

  test('requests that admission cannot answer: IPSAdmissionErrors as shipped, by what went wrong', async () => {
    const url = `https://${kit.cluster.sandbox.hostAddress}:${ips?.webhookPort}/mutate`;
    // No request is known that would make it an error of ours: promtool shows that one.
    for (let count = 0; count < 3; count += 1) expect(await post(url, '{')).toBe(400);
    const alerts = await firesAt('IPSAdmissionErrors', 1);
    expect(alerts.map(({ labels }) => labels['result'])).toEqual(['invalid']);
  });

  test('a failed Job does not stay, while IPS runs nor when it failed while IPS was away', async () => {
    const silent = await silentServer();
    onTestFinished(() => void silent.close());
    const { port } = silent.address() as AddressInfo;
    const image = `${kit.cluster.sandbox.hostAddress}:${port}/hangs:1`;
    const annotations = { ...PREWARM, 'ips/retry-strategy': 'linear' };
    await kit.apply(deployment('hangs', { annotations, replicas: 0, images: [image], spec: WEB_NODES }));

    await failWarmers();
    await waitFor('IPS to count the failure', async () => {
      const [task] = await kit.tasks();
      return (task?.status?.attempt ?? 0) > 0 && (await kit.list('jobs')).length === 0;
    });

    // `kube_job_failed` would have to be above 0 for 15 minutes.
    expect(failedJobs?.longestSeconds()).toBeLessThan(90);

    await waitFor('the next try', async () => (await kit.list('jobs')).length > 0);
    await ips?.kill();
    await failWarmers();
    const [failed] = await waitFor('the Job to fail', async () => {
      const jobs = (await kit.list<Job>('jobs')).filter(hasFailed);
      return jobs.length > 0 && jobs;
    });
    await firesAt('IPSDown');
    failedJobs?.forget(); // nobody is there to remove it
    ips = await startIps(kit.cluster, { webhookPort: ips?.webhookPort ?? 0 });
    const back = performance.now();
    await waitFor('the failed Job to go', async () => {
      const jobs = await kit.list<Job>('jobs');
      return !jobs.some((job) => job.metadata.uid === failed?.metadata.uid);
    });
    expect(performance.now() - back).toBeLessThan(60_000);
    await waitFor('the failure to be recorded', async () => {
      const [task] = await kit.tasks();
      return (task?.status?.attempt ?? 0) > 1;
    });
    expect(failedJobs?.seen()).toBeGreaterThan(0);
    expect(failedJobs?.longestSeconds()).toBeLessThan(90);
  });

  /** What a node that refuses them, or their removal by hand, does to a batch: its Job fails. */
  async function failWarmers(): Promise<void> {
    await waitFor('two warmers', async () => (await kit.list('pods', ['-l', 'ips/warmer'])).length === 2);
    await kit.kubectl(['delete', 'pods', '-l', 'ips/warmer', '--force', '--grace-period=0']);
  }
});

function hasFailed(job: Job): boolean {
  const conditions = job.status?.conditions ?? [];
  return conditions.some(({ type, status }) => type === 'Failed' && status === 'True');
}

type FailedJobs = { seen(): number; longestSeconds(): number; forget(): void; stop(): void };

/** Asks again and again which Jobs have failed, and for how long each was seen so. */
function watchFailedJobs(kit: Kit): FailedJobs {
  const seen = new Map<string, { firstMs: number; lastMs: number }>();
  let stopped = false;
  const look = async () => {
    for (const job of (await kit.list<Job>('jobs')).filter(hasFailed)) {
      const now = performance.now();
      const { firstMs } = seen.get(job.metadata.uid ?? '') ?? { firstMs: now };
      seen.set(job.metadata.uid ?? '', { firstMs, lastMs: now });
    }
  };
  void (async () => {
    while (!stopped) await look().catch(() => {});
  })();
  return {
    seen: () => seen.size,
    longestSeconds: () =>
      Math.max(0, ...[...seen.values()].map(({ firstMs, lastMs }) => lastMs - firstMs)) / 1000,
    forget: () => seen.clear(),
    stop() {
      stopped = true;
    },
  };
}

/** A registry that takes connections and never says a word. */
async function silentServer(): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '::', resolve));
  server.unref();
  return server;
}

/** As anybody could who reaches the port; gives the status. */
function post(url: string, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const asked = request(url, { method: 'POST', headers, rejectUnauthorized: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    asked.on('error', reject);
    asked.end(body);
  });
}
