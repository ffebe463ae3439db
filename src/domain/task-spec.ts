import { MAX_NOTIFIERS, OUTPUT } from './annotations.ts';
import { taskName } from './fingerprint.ts';
import type { OwnerReference } from './kubernetes.ts';
import {
  DEFAULTS,
  type PrewarmTask,
  type PrewarmTaskSpec,
  type PrewarmTaskStatus,
  TASK_API_VERSION,
} from './prewarm-task.ts';
import { statusText } from './status-text.ts';
import type { PrewarmPlan, Workload } from './workload.ts';

/** The task for workloads with the same fingerprint, the oldest first: highest priority, union of notifiers, the rest from the oldest. */
export function taskSpec(plans: [PrewarmPlan, ...PrewarmPlan[]]): PrewarmTaskSpec {
  const [oldest] = plans;
  const { settings, pull } = oldest;
  const priority = Math.max(...plans.map((plan) => plan.settings.priority ?? DEFAULTS.priority));
  const notifiers = [...new Set(plans.flatMap((plan) => plan.settings.notify))]
    .sort()
    .slice(0, MAX_NOTIFIERS);
  return {
    fingerprint: oldest.fingerprint,
    images: oldest.images,
    nodeRequirements: oldest.requirements,
    ...(pull.imagePullSecrets.length > 0 ? { imagePullSecrets: pull.imagePullSecrets } : {}),
    ...(pull.serviceAccountName ? { serviceAccountName: pull.serviceAccountName } : {}),
    ...(pull.runtimeClassName ? { runtimeClassName: pull.runtimeClassName } : {}),
    ...(settings.maxNodes ? { maxNodes: settings.maxNodes } : {}),
    ...(oldest.preferences ? { nodePreferences: oldest.preferences } : {}),
    // In full, as the schema's defaults would make it: what differs from it was changed by somebody.
    priority,
    ...(settings.concurrentPulls ? { concurrentPulls: settings.concurrentPulls } : {}),
    timeoutSeconds: settings.timeoutSeconds ?? DEFAULTS.timeoutSeconds,
    retry: {
      limit: settings.retryLimit ?? DEFAULTS.retryLimit,
      strategy: settings.retryStrategy ?? DEFAULTS.retryStrategy,
      delaySeconds: DEFAULTS.retryDelaySeconds,
    },
    ...(notifiers.length > 0 ? { notifiers } : {}),
  };
}

export function newTask(namespace: string, spec: PrewarmTaskSpec, owners: OwnerReference[]): PrewarmTask {
  return {
    apiVersion: TASK_API_VERSION,
    kind: 'PrewarmTask',
    metadata: { name: taskName(spec.fingerprint ?? ''), namespace, ownerReferences: owners },
    spec,
  };
}

export function ownerReference(workload: Workload): OwnerReference {
  const { name = '', uid = '' } = workload.metadata;
  return { apiVersion: workload.apiVersion, kind: workload.kind, name, uid };
}

/**
 * What to change in the annotations by which a workload's users see how it stands; null removes one, and undefined
 * means that they say it already.
 */
export function outputChanges(
  workload: Workload,
  status: PrewarmTaskStatus,
  task: string | undefined,
): Record<string, string | null> | undefined {
  const wanted = {
    [OUTPUT.status]: statusText(status),
    [OUTPUT.task]: task ?? null,
    [OUTPUT.lastWarmed]: status.lastWarmedAt ?? null,
    [OUTPUT.message]: status.message || null,
  };
  const present = workload.metadata.annotations ?? {};
  const changes = Object.entries(wanted).filter(([name, value]) => (present[name] ?? null) !== value);
  return changes.length > 0 ? Object.fromEntries(changes) : undefined;
}
