import type { Logger } from 'pino';
import { OUTPUT, PREWARM } from '../domain/annotations.ts';
import { stableJson, taskName } from '../domain/fingerprint.ts';
import type { OwnerReference } from '../domain/kubernetes.ts';
import type { PrewarmTask, PrewarmTaskSpec, PrewarmTaskStatus } from '../domain/prewarm-task.ts';
import { statusEvent } from '../domain/status-text.ts';
import { newTask, outputChanges, ownerReference, taskSpec } from '../domain/task-spec.ts';
import {
  carriesLabel,
  type PrewarmPlan,
  planOfKept,
  type Workload,
  wantsPrewarm,
  workloadOf,
} from '../domain/workload.ts';
import { typeOf, type WorkloadType, type WorkloadTypes } from '../domain/workload-types.ts';
import type { KubeClient } from '../kube/client.ts';
import { ignoreNotFound, isConflict, isNotFound } from '../kube/errors.ts';
import { writeEvent } from '../kube/events.ts';
import { type Informer, keyOf } from '../kube/informer.ts';
import { createPace } from '../kube/pace.ts';
import { RESOURCES } from '../kube/resources.ts';
import { type Turn, type Turns, taskLock } from './turns.ts';
import { type Again, soonest } from './work-queue.ts';
import {
  ownerKey,
  ownerKeys,
  readWorkloadKey,
  type WorkloadWatches,
  workloadKey,
} from './workload-watches.ts';

const NO_IMAGES: PrewarmTaskStatus = { phase: 'Pending', message: 'no image to warm' };

/** Numbers that moved are written this seldom; a new phase at once. Every write makes the Deployment controller copy it. */
const STATUS_EVERY_MS = 10_000;

export type WorkloadReconcilerOptions = {
  client: Pick<KubeClient, 'get' | 'create'>;
  turns: Turns;
  workloads: WorkloadWatches;
  tasks: Informer<PrewarmTask>;
  excludedNamespaces: readonly string[];
  now: () => Date;
  log: Logger;
};

/** Makes sure that each workload that wants it owns the one task of its fingerprint, and tells it how that stands. */
export function createWorkloadReconciler(
  options: WorkloadReconcilerOptions,
): (key: string) => Promise<Again> {
  const { client, turns, workloads, tasks, log } = options;
  const { types } = workloads;
  const written = new Map<string, number>();
  /** What each owner asked for when a task was found to be what they all ask for: a thousand need not ask a thousand. */
  const agreed = new WeakMap<PrewarmTask, Map<string, string>>();

  return async function reconcile(key: string): Promise<Again> {
    const named = readWorkloadKey(types, key);
    if (!named || options.excludedNamespaces.includes(named.namespace)) return undefined;
    const owned = tasks.values().filter((task) => ownerKeys(types, task).includes(key));
    const { workload, again } = await find(key, named, owned);
    if (again) return again;
    if (workload && wantsPrewarm(workload)) return prewarm(key, workload, owned);
    let next = await disownAll(key, owned);
    if (workload && ownsItsLabel(workload))
      next = soonest(next, await turns.run(workloadLock(key), (turn) => forget(turn, workload)));
    written.delete(key);
    return next;
  };

  /** What lost its label while nobody looked is read by the replica that looks after its task, and no other. */
  async function find(
    key: string,
    named: { type: WorkloadType; namespace: string; name: string },
    [task]: PrewarmTask[],
  ): Promise<{ workload: Workload | undefined; again?: Again }> {
    const known = workloads.get(key);
    if (known || !task) return { workload: known };
    let workload: Workload | undefined;
    const again = await turns.run(taskLock(keyOf(task)), async (turn) => {
      await turn.own();
      workload = await readLive(named);
      return undefined;
    });
    return { workload, again };
  }

  async function prewarm(key: string, workload: Workload, owned: PrewarmTask[]): Promise<Again> {
    const plan = planOfKept(workload);
    const taskKey = `${workload.metadata.namespace}/${taskName(plan.fingerprint)}`;
    const lock = plan.images.length > 0 ? taskLock(taskKey) : workloadLock(key);
    const again = await turns.run(lock, async (turn) => {
      if (!carriesLabel(workload)) await label({ client: turn.write, types }, workload);
      const task = plan.images.length > 0 ? await ensureTask(turn, workload, plan) : undefined;
      return tell(turn, key, workload, task);
    });
    const task = tasks.get(taskKey);
    // The old task is given up for the new one, whichever replica has that.
    if (plan.images.length > 0 && !(task && ownerKeys(types, task).includes(key))) return again;
    const others = owned.filter(({ metadata }) => metadata.uid !== task?.metadata.uid);
    return soonest(again, await disownAll(key, others));
  }

  /** What lost its label while nobody looked may still want to be warm: the annotation is the truth. */
  async function readLive(named: {
    type: WorkloadType;
    namespace: string;
    name: string;
  }): Promise<Workload | undefined> {
    const { type, namespace, name } = named;
    const live = await client.get(type, namespace, name).catch(ignoreNotFound);
    return live && workloadOf(types, type, live);
  }

  async function ensureTask(turn: Turn, workload: Workload, plan: PrewarmPlan): Promise<PrewarmTask> {
    const namespace = workload.metadata.namespace ?? '';
    const name = taskName(plan.fingerprint);
    const existing = tasks.get(`${namespace}/${name}`);
    if (existing) return adopt(turn, existing, workload, plan);
    try {
      const created = await turn.write.create(
        RESOURCES.tasks,
        namespace,
        newTask(namespace, taskSpec([plan]), [ownerReference(workload)]),
      );
      log.info(
        { task: name, namespace, workload: workload.metadata.name, images: plan.images.length },
        'task created',
      );
      tasks.put(created);
      return created;
    } catch (error) {
      if (!isConflict(error)) throw error;
      const found = await client.get<PrewarmTask>(RESOURCES.tasks, namespace, name);
      return adopt(turn, found, workload, plan);
    }
  }

  /** Makes the workload an owner, and lets all owners' settings meet in the task. */
  async function adopt(
    turn: Turn,
    task: PrewarmTask,
    workload: Workload,
    plan: PrewarmPlan,
  ): Promise<PrewarmTask> {
    await refuseForeign(turn, task, plan);
    const { namespace, name = '', resourceVersion } = task.metadata;
    const own = ownerReference(workload);
    if (agreed.get(task)?.get(own.uid) === settingsOf(workload, plan)) return task;
    const others = ownersBut(task, workloadKey(workload));
    const isOwner = (task.metadata.ownerReferences ?? []).some((owner) => owner.uid === own.uid);
    const owners = () => others.flatMap((owner) => workloadOfOwner(namespace, owner) ?? []);
    await planAll(isOwner ? owners() : neighbours(workload));
    const joining = isOwner ? [] : alike(workload, plan, others);
    const known = owners();
    const spec = taskSpec(plansOfOwners([workload, ...known, ...joining], plan));
    const changed = differing(spec, task.spec);
    if (isOwner && !changed) {
      const all = [workload, ...known].filter(wantsPrewarm);
      agreed.set(
        task,
        new Map(all.map((each) => [each.metadata.uid ?? '', settingsOf(each, planOfKept(each))])),
      );
      return task;
    }
    const patch = {
      metadata: { resourceVersion, ownerReferences: [...others, own, ...joining.map(ownerReference)] },
      ...(changed ? { spec: changed } : {}),
    };
    const patched = await turn.write.mergePatch<PrewarmTask>(RESOURCES.tasks, namespace, name, patch);
    tasks.put(patched);
    return patched;
  }

  async function refuseForeign(turn: Turn, task: PrewarmTask, plan: PrewarmPlan): Promise<void> {
    const { namespace, name, deletionTimestamp } = task.metadata;
    if (!deletionTimestamp && plan.fingerprint === task.spec.fingerprint) return;
    await turn.own(); // said by one replica
    if (deletionTimestamp) throw new Error(`task ${namespace}/${name} is being deleted; trying again`);
    throw new Error(`task ${namespace}/${name} has another fingerprint; delete it if it was made by hand`);
  }

  /** A thousand plans take a tenth of a second; they are remembered, so that whoever asks for them next has them at once. */
  async function planAll(some: readonly Workload[]): Promise<void> {
    const pace = createPace();
    for (const each of some) {
      if (!wantsPrewarm(each)) continue;
      planOfKept(each);
      await pace();
    }
  }

  function neighbours({ metadata: { namespace } }: Workload): Workload[] {
    return workloads.values().filter(({ metadata }) => metadata.namespace === namespace);
  }

  /** Whoever else is about to join: a thousand pods of one template take one write, not a thousand. */
  function alike(workload: Workload, plan: PrewarmPlan, owners: OwnerReference[]): Workload[] {
    const present = new Set(owners.map(({ uid }) => uid)).add(workload.metadata.uid ?? '');
    return neighbours(workload).filter(
      (other) =>
        !present.has(other.metadata.uid ?? '') &&
        wantsPrewarm(other) &&
        planOfKept(other).fingerprint === plan.fingerprint,
    );
  }

  function workloadOfOwner(namespace: string | undefined, owner: OwnerReference): Workload | undefined {
    return workloads.get(ownerKey(types, namespace, owner) ?? '');
  }

  function ownersBut({ metadata }: PrewarmTask, key: string): OwnerReference[] {
    const owners = metadata.ownerReferences ?? [];
    return owners.filter((owner) => ownerKey(types, metadata.namespace, owner) !== key);
  }

  async function disownAll(key: string, owned: PrewarmTask[]): Promise<Again> {
    let again: Again;
    for (const each of owned) {
      const taskKey = keyOf(each);
      const next = await turns.run(taskLock(taskKey), async (turn) => {
        const task = tasks.get(taskKey);
        if (task && ownerKeys(types, task).includes(key)) await disown(turn, task, key);
        return undefined;
      });
      again = soonest(again, next);
    }
    return again;
  }

  /** A task without owners has nobody to be warm for. */
  async function disown(turn: Turn, task: PrewarmTask, key: string): Promise<void> {
    const { namespace, name = '', uid, resourceVersion } = task.metadata;
    const left = ownersBut(task, key);
    try {
      if (left.length > 0) {
        const patch = { metadata: { resourceVersion, ownerReferences: left } };
        tasks.put(await turn.write.mergePatch<PrewarmTask>(RESOURCES.tasks, namespace, name, patch));
        return;
      }
      await turn.write.remove(RESOURCES.tasks, namespace, name, { uid, resourceVersion });
      log.info({ task: name, namespace, workload: key }, 'task removed: its last owner opted out or is gone');
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** Takes away what IPS wrote on a workload that no longer wants it. */
  async function forget(turn: Turn, workload: Workload): Promise<undefined> {
    const { labels = {}, annotations = {} } = workload.metadata;
    const outputs = Object.values(OUTPUT).filter((name) => Object.hasOwn(annotations, name));
    if (!Object.hasOwn(labels, PREWARM) && outputs.length === 0) return;
    await patchMetadata({ client: turn.write, types }, workload, {
      labels: { [PREWARM]: null },
      annotations: Object.fromEntries(outputs.map((name) => [name, null])),
    });
  }

  async function tell(
    turn: Turn,
    key: string,
    workload: Workload,
    task: PrewarmTask | undefined,
  ): Promise<Again> {
    if (task && !task.status?.phase) return undefined; // its reconcile will say more in a moment
    const status = task?.status ?? NO_IMAGES;
    const changes = outputChanges(workload, status, task?.metadata.name);
    if (!changes) return undefined;
    const event = statusEvent(workload.metadata.annotations, status, task?.spec.images.length ?? 0);
    const waitMs = (written.get(key) ?? 0) + STATUS_EVERY_MS - options.now().getTime();
    if (!event && waitMs > 0) return { afterMs: waitMs };
    await turn.own();
    written.set(key, options.now().getTime());
    const patched = await patchMetadata({ client: turn.write, types }, workload, { annotations: changes });
    if (!patched) return undefined;
    workloads.put(patched);
    // It belongs to what was just written, whoever has the lock by now.
    if (event) await writeEvent(client, workload, event, options.now());
    return undefined;
  }
}

function workloadLock(key: string): string {
  return `workload:${key}`;
}

type MetadataWriter = { client: Pick<KubeClient, 'mergePatch'>; types: WorkloadTypes };

/** Copies the opt-in to the label; what was applied while the webhook was away did not get it there. */
export async function label(writer: MetadataWriter, workload: Workload): Promise<void> {
  await patchMetadata(writer, workload, { labels: { [PREWARM]: 'true' } });
}

/** The uid makes the patch fail on an object that was made anew under the same name. */
async function patchMetadata(
  { client, types }: MetadataWriter,
  workload: Workload,
  metadata: object,
): Promise<Workload | undefined> {
  const { namespace, name = '', uid } = workload.metadata;
  const type = typeOf(types, workload.apiVersion, workload.kind);
  if (!type) return undefined;
  try {
    const patch = { metadata: { uid, ...metadata } };
    return workloadOf(types, type, await client.mergePatch(type, namespace, name, patch));
  } catch (error) {
    if (isNotFound(error) || isConflict(error)) return undefined; // gone or replaced: its own change will bring it back here
    throw error;
  }
}

function age(workload: Workload): string {
  return workload.metadata.creationTimestamp ?? '';
}

/** Ten times as fast as `localeCompare`, which counts among a thousand owners. */
function inOrder(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** A pod of a ReplicaSet may carry a label of that name by its template: taking it away would make it another's pod. */
function ownsItsLabel(workload: Workload): boolean {
  const going = workload.finished || workload.metadata.deletionTimestamp !== undefined;
  return !going && !workload.controlled;
}

/** The plans of the owners that still want what this one wants, the oldest first; an owner may be about to leave. */
function plansOfOwners(owners: Workload[], own: PrewarmPlan): [PrewarmPlan, ...PrewarmPlan[]] {
  const [first, ...rest] = owners
    .filter(wantsPrewarm)
    .sort((a, b) => inOrder(age(a), age(b)) || inOrder(a.metadata.uid ?? '', b.metadata.uid ?? ''))
    .map(planOfKept)
    .filter((plan) => plan.fingerprint === own.fingerprint);
  return first ? [first, ...rest] : [own];
}

function settingsOf(workload: Workload, plan: PrewarmPlan): string {
  return stableJson([plan.fingerprint, plan.settings, age(workload)]);
}

/** The fields that owners' annotations decide; the others are the fingerprint's, or whoever cancels a task by hand. */
const OWNERS_FIELDS = ['priority', 'concurrentPulls', 'timeoutSeconds', 'retry', 'notifiers'] as const;

/** What differs, as a merge patch: what is no longer wanted is null. */
function differing(wanted: PrewarmTaskSpec, present: PrewarmTaskSpec): Record<string, unknown> | undefined {
  const changes = OWNERS_FIELDS.filter(
    (field) => stableJson(wanted[field] ?? null) !== stableJson(present[field] ?? null),
  );
  return changes.length > 0
    ? Object.fromEntries(changes.map((field) => [field, wanted[field] ?? null]))
    : undefined;
}
