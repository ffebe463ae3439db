import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Makes the PrometheusRule of the monitoring component from the rules that a Prometheus without operator loads. Kustomize
 * cannot put a file into a field, so both are in the repository; a test holds that they are the same.
 */

const FOLDER = join(import.meta.dirname, '../deploy/components/monitoring');
export const RULES = join(FOLDER, 'rules.yaml');
export const PROMETHEUS_RULE = join(FOLDER, 'prometheus-rule.yaml');

const HEAD = `# Made from rules.yaml by: node scripts/prometheus-rule.ts
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ips
  namespace: ips-system
  labels: { app.kubernetes.io/name: image-prewarm-service, app.kubernetes.io/part-of: image-prewarm-service }
spec:
`;

export function prometheusRule(): string {
  const rules = readFileSync(RULES, 'utf8');
  const groups = rules.slice(rules.indexOf('groups:')).trimEnd().split('\n');
  return `${HEAD}${groups.map((line) => (line ? `  ${line}\n` : '\n')).join('')}`;
}

if (import.meta.main) writeFileSync(PROMETHEUS_RULE, prometheusRule());
