import Type, { type Static, type TSchema } from 'typebox';
import { DEFAULTS, MAX_BATCH, type TaskPhase } from '../domain/prewarm-task.ts';
import { START_WIDTH } from '../domain/pull-width.ts';

/** The shapes of the API: each is the check of what comes in, the type in the code, and the document of both. */

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const DNS_LABEL = `^${LABEL}$`;
const DNS_SUBDOMAIN = `^${LABEL}(\\.${LABEL})*$`;
const PHASES = [
  'Pending',
  'Warming',
  'Warm',
  'PartiallyFailed',
  'Failed',
  'Cancelled',
] as const satisfies TaskPhase[];

const optional = Type.Optional;
const count = (description?: string) => Type.Integer({ minimum: 0, ...(description ? { description } : {}) });
const time = (description?: string) =>
  Type.String({ format: 'date-time', ...(description ? { description } : {}) });
const objectName = (description: string) =>
  Type.String({ pattern: DNS_SUBDOMAIN, maxLength: 253, description });
const integer = (minimum: number, maximum: number, description: string) =>
  Type.Integer({ minimum, maximum, description });
const strings = Type.Array(Type.String());
const stringMap = Type.Unsafe<Record<string, string>>({
  type: 'object',
  additionalProperties: { type: 'string' },
});

function oneOf<const T extends string>(values: readonly T[], description?: string) {
  return Type.Unsafe<T>({ type: 'string', enum: values, ...(description ? { description } : {}) });
}

/** A shape that stands once in the document, under its name. */
function shared<T extends TSchema & { $id?: string }>(schema: T) {
  return Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` });
}

export const Namespace = Type.String({ pattern: DNS_LABEL, maxLength: 63 });
export const TaskName = Type.String({ pattern: DNS_SUBDOMAIN, maxLength: 63 });
const Phase = oneOf(PHASES);

const closed = { additionalProperties: false };

const requirement = (operators: readonly string[]) =>
  Type.Object(
    { key: Type.String({ maxLength: 317 }), operator: oneOf(operators), values: optional(strings) },
    closed,
  );

const NodeSelectorTerm = Type.Object(
  {
    matchExpressions: optional(
      Type.Array(requirement(['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt'])),
    ),
    matchFields: optional(Type.Array(requirement(['In', 'NotIn']))),
  },
  closed,
);

const NodeAffinity = Type.Object(
  { nodeSelectorTerms: Type.Array(NodeSelectorTerm, { minItems: 1 }) },
  { ...closed, description: 'requiredDuringSchedulingIgnoredDuringExecution of a pod’s node affinity.' },
);

const NodePreferences = Type.Object(
  {
    nodeAffinity: optional(
      Type.Array(
        Type.Object(
          {
            weight: integer(1, 100, 'How much a node counts that matches.'),
            preference: NodeSelectorTerm,
          },
          closed,
        ),
        { description: 'preferredDuringSchedulingIgnoredDuringExecution of a pod’s node affinity.' },
      ),
    ),
    topologySpreadConstraints: optional(
      Type.Array(
        Type.Object(
          {
            topologyKey: Type.String({ maxLength: 317 }),
            maxSkew: integer(1, 2 ** 31 - 1, 'Of nodes, as if each had one pod.'),
            whenUnsatisfiable: oneOf(['DoNotSchedule', 'ScheduleAnyway']),
            minDomains: optional(integer(1, 2 ** 31 - 1, '1 where it is not set.')),
            nodeAffinityPolicy: optional(oneOf(['Honor', 'Ignore'])),
            nodeTaintsPolicy: optional(oneOf(['Honor', 'Ignore'])),
          },
          closed,
        ),
        {
          maxItems: 10,
          description: 'Without them, zones are spread over as the scheduler does by default.',
        },
      ),
    ),
  },
  { ...closed, description: 'Which nodes come first under maxNodes; without maxNodes they decide nothing.' },
);

const Toleration = Type.Object(
  {
    key: optional(Type.String({ maxLength: 317 })),
    operator: optional(oneOf(['Exists', 'Equal'])),
    value: optional(Type.String({ maxLength: 63 })),
    effect: optional(oneOf(['NoSchedule', 'PreferNoSchedule', 'NoExecute'])),
  },
  closed,
);

/** Where: as in a pod's spec. */
const WHERE = {
  nodeName: optional(objectName('One node alone.')),
  nodeSelector: optional(stringMap),
  nodeAffinity: optional(NodeAffinity),
  tolerations: optional(Type.Array(Toleration)),
  os: optional(oneOf(['linux', 'windows'])),
  maxNodes: optional(
    Type.String({
      pattern: '^([1-9][0-9]{0,5}|[1-9][0-9]?%|100%)$',
      description: 'A number of nodes or a percentage.',
    }),
  ),
  nodePreferences: optional(NodePreferences),
};

/** With whose credentials. */
const PULL = {
  imagePullSecrets: optional(
    Type.Array(objectName('A Secret in the namespace of the task.'), { maxItems: 20 }),
  ),
  serviceAccountName: optional(objectName('Its pull secrets count too.')),
  runtimeClassName: optional(objectName('Some runtimes keep images apart.')),
};

const RETRY = {
  limit: integer(0, 5, `Tries after the first; ${DEFAULTS.retryLimit} where it is not set.`),
  strategy: oneOf(['linear', 'exponential']),
  delaySeconds: integer(1, 3600, `Before the second try; ${DEFAULTS.retryDelaySeconds} where it is not set.`),
};

const PACE = {
  priority: integer(1, 10, `10 goes first; ${DEFAULTS.priority} where it is not set.`),
  concurrentPulls: integer(
    1,
    MAX_BATCH,
    `The most nodes that pull at the same time, from the first batch on. Where it is not set: ${START_WIDTH} to begin with, more as pulls succeed, at most ${MAX_BATCH}.`,
  ),
  timeoutSeconds: integer(1, 86_400, `Of one batch; ${DEFAULTS.timeoutSeconds} where it is not set.`),
};

const TTL = integer(
  0,
  31_536_000,
  `Removed this long after it finished; ${DEFAULTS.ttlSecondsAfterFinished} where it is not set.`,
);
const PULL_POLICY = oneOf(['IfNotPresent', 'Always']);

export const NewTask = Type.Object(
  {
    namespace: Namespace,
    name: optional(TaskName),
    images: Type.Array(
      Type.Object(
        {
          image: Type.String({ minLength: 1, maxLength: 512 }),
          pullPolicy: optional(PULL_POLICY),
        },
        closed,
      ),
      { minItems: 1, maxItems: 100 },
    ),
    ...WHERE,
    ...PULL,
    priority: optional(PACE.priority),
    concurrentPulls: optional(PACE.concurrentPulls),
    timeoutSeconds: optional(PACE.timeoutSeconds),
    retry: optional(
      Type.Object(
        {
          limit: optional(RETRY.limit),
          strategy: optional(RETRY.strategy),
          delaySeconds: optional(RETRY.delaySeconds),
        },
        closed,
      ),
    ),
    ttlSecondsAfterFinished: optional(TTL),
  },
  closed,
);
export type NewTask = Static<typeof NewTask>;

const NodeCounts = Type.Object({ eligible: count(), warm: count(), warming: count(), failed: count() });

const Failure = Type.Object({
  node: Type.String(),
  image: Type.String(),
  reason: Type.String(),
  message: Type.String(),
  time: time(),
});

const Batch = Type.Object({
  jobName: Type.String(),
  round: count(),
  batch: count(),
  attempt: count(),
  nodes: strings,
  images: strings,
  startedAt: time(),
});

const TaskStatus = Type.Object({
  phase: Phase,
  message: optional(Type.String()),
  nodes: NodeCounts,
  round: count(),
  width: optional(count('Nodes that may pull at the same time now.')),
  widthReason: optional(Type.String({ description: 'The last change of the width, and why.' })),
  wantsSince: optional(time()),
  startedAt: optional(time()),
  finishedAt: optional(time()),
  lastWarmedAt: optional(time()),
  retryAt: optional(time()),
  batches: Type.Array(Batch, { description: 'Running now.' }),
  failures: Type.Array(Failure, { description: 'At most 50 of them.' }),
  failureCount: count('All of them.'),
  failedImages: Type.Array(
    Type.Object({ image: Type.String(), reason: Type.String(), message: Type.String(), nodes: count() }),
    { description: 'No node can pull these; left out until retryAt.' },
  ),
});

export const Task = Type.Object(
  {
    namespace: Type.String(),
    name: Type.String(),
    uid: Type.String(),
    createdAt: time(),
    owners: Type.Array(Type.Object({ apiVersion: Type.String(), kind: Type.String(), name: Type.String() }), {
      description: 'The workloads that it warms for; a task made by hand has none.',
    }),
    cancelled: Type.Boolean(),
    images: Type.Array(Type.Object({ image: Type.String(), pullPolicy: PULL_POLICY })),
    // Tasks of workloads hold what the API server let through, which may be more than NewTask takes.
    nodeName: optional(Type.String()),
    nodeSelector: optional(stringMap),
    nodeAffinity: optional(Type.Unsafe<object>({ type: 'object', additionalProperties: true })),
    tolerations: optional(Type.Array(Type.Unsafe<object>({ type: 'object', additionalProperties: true }))),
    os: optional(Type.String()),
    maxNodes: optional(Type.String()),
    nodePreferences: optional(Type.Unsafe<object>({ type: 'object', additionalProperties: true })),
    imagePullSecrets: optional(strings),
    serviceAccountName: optional(Type.String()),
    runtimeClassName: optional(Type.String()),
    ...PACE,
    concurrentPulls: optional(PACE.concurrentPulls),
    retry: Type.Object(RETRY),
    ttlSecondsAfterFinished: optional(TTL),
    notifiers: optional(strings),
    status: TaskStatus,
  },
  { $id: 'Task' },
);
export type Task = Static<typeof Task>;

export const Workload = Type.Object(
  {
    namespace: Type.String(),
    apiVersion: Type.String({ description: 'Of its kind, such as `apps/v1`.' }),
    kind: Type.String({ description: 'Such as `Deployment`, or that of a custom resource.' }),
    name: Type.String(),
    task: Type.String({ description: 'The name of its task, in the same namespace.' }),
    images: strings,
    status: Type.Object({
      phase: Phase,
      message: optional(Type.String()),
      nodes: NodeCounts,
      lastWarmedAt: optional(time()),
    }),
  },
  { $id: 'Workload' },
);
export type Workload = Static<typeof Workload>;

export const Node = Type.Object(
  {
    name: Type.String(),
    ready: Type.Boolean(),
    message: optional(Type.String({ description: 'Why nothing is pulled to it now.' })),
    images: Type.Array(Type.String(), { description: 'Images of tasks that are there.' }),
  },
  { $id: 'Node' },
);
export type Node = Static<typeof Node>;

function pageSchema<T extends TSchema & { $id?: string }>(schema: T) {
  return Type.Object(
    {
      items: Type.Array(shared(schema)),
      continue: optional(
        Type.String({ description: 'Ask with this for the next page; absent on the last.' }),
      ),
    },
    { $id: `${schema.$id}Page` },
  );
}
const TaskPage = pageSchema(Task);
const WorkloadPage = pageSchema(Workload);
const NodePage = pageSchema(Node);

export const SHARED = [Task, Workload, Node, TaskPage, WorkloadPage, NodePage];
export const ANSWER = {
  task: shared(Task),
  tasks: shared(TaskPage),
  workloads: shared(WorkloadPage),
  nodes: shared(NodePage),
};

const PAGE_QUERY = {
  limit: optional(
    Type.Integer({ minimum: 1, maximum: 100, description: 'Items on a page; 50 where it is not set.' }),
  ),
  continue: optional(Type.String({ maxLength: 1024, description: '`continue` of the page before.' })),
};
const IN_NAMESPACE = {
  namespace: optional(
    Type.String({
      ...Namespace,
      description: 'This namespace alone; without it, all, which needs a right in all.',
    }),
  ),
};

export const TaskQuery = Type.Object(
  {
    ...IN_NAMESPACE,
    status: optional(Phase),
    image: optional(
      Type.String({
        minLength: 1,
        maxLength: 512,
        description: 'Tasks with this image, however it is spelt.',
      }),
    ),
    ...PAGE_QUERY,
  },
  closed,
);
export const WorkloadQuery = Type.Object({ ...IN_NAMESPACE, status: optional(Phase), ...PAGE_QUERY }, closed);
export const NodeQuery = Type.Object({ ...IN_NAMESPACE, ...PAGE_QUERY }, closed);
export const TaskPath = Type.Object({ namespace: Namespace, name: TaskName });
