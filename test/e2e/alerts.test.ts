import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { PROMETHEUS_RULE, prometheusRule, RULES } from '../../scripts/prometheus-rule.ts';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import { run, waitFor } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';
import { type Alert, PROMTOOL, type Prometheus, startPrometheus } from './prometheus.ts';

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
