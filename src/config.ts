import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type RedisAddress, readRedisAddresses, serverCountProblem } from './coordination/redis-address.ts';
import { parseImageReference } from './domain/image-reference.ts';
import type { StrategyOptions } from './domain/node-strategy.ts';
import { DEFAULT_CUSTOM_WORKLOADS, readCustomWorkloads, type WorkloadType } from './domain/workload-types.ts';

/** Everything that can be set, by environment variable or flag; a flag goes before its variable. */
export type Config = {
  serverPort: number;
  webhookPort: number;
  namespace: string;
  workerImage: string;
  pullStrategy: StrategyOptions['strategy'];
  workerImageLegacy: string;
  warmerPriorityClass: string;
  webhookConfiguration: string;
  webhookHosts: string[];
  certDir: string | undefined;
  certSecret: string;
  kubeconfig: string | undefined;
  excludedNamespaces: string[];
  customWorkloads: WorkloadType[];
  maxActiveTasks: number;
  maxNamespaceTasks: number;
  maxConcurrentPulls: number;
  resyncSeconds: number;
  drainSeconds: number;
  collectedRetrySeconds: number;
  logLevel: string;
  coordination: 'memory' | 'redis' | 'lease';
  redisAddresses: RedisAddress[];
  queueRedisAddress: RedisAddress | undefined;
  redisUsername: string | undefined;
  redisPassword: string | undefined;
  redisPasswordFile: string | undefined;
  redisTlsCaFile: string | undefined;
  redisPrefix: string;
};

/** Without a flag: what every user of the machine could read there. */
export type Option = { env: string; flag: string; fallback: string; help: string };

export const OPTIONS = {
  serverPort: {
    env: 'SERVER_PORT',
    flag: 'server-port',
    fallback: '8080',
    help: 'port of health, metrics and the REST API (HTTP)',
  },
  webhookPort: {
    env: 'WEBHOOK_PORT',
    flag: 'webhook-port',
    fallback: '9443',
    help: 'port of admission (HTTPS)',
  },
  namespace: { env: 'K8S_NAMESPACE', flag: 'namespace', fallback: 'ips-system', help: "IPS's own namespace" },
  workerImage: {
    env: 'WORKER_IMAGE',
    flag: 'worker-image',
    fallback: 'registry.k8s.io/pause:3.10',
    help: 'image of the warmers: prints its version and exits on -v',
  },
  pullStrategy: {
    env: 'PULL_STRATEGY',
    flag: 'pull-strategy',
    fallback: 'auto',
    help: 'image-volume, injected-noop (needs WORKER_IMAGE_LEGACY), or auto: image volumes where a node can, else the no-op',
  },
  workerImageLegacy: {
    env: 'WORKER_IMAGE_LEGACY',
    flag: 'worker-image-legacy',
    fallback: '',
    help: 'image of the no-op, made from worker/; default: none, nodes that cannot mount image volumes are left out',
  },
  warmerPriorityClass: {
    env: 'WARMER_PRIORITY_CLASS',
    flag: 'warmer-priority-class',
    fallback: 'ips-warmer',
    help: 'PriorityClass of the warmers; "none" for none',
  },
  webhookConfiguration: {
    env: 'WEBHOOK_CONFIGURATION',
    flag: 'webhook-configuration',
    fallback: 'ips',
    help: 'MutatingWebhookConfiguration that gets our CA',
  },
  webhookHosts: {
    env: 'WEBHOOK_HOSTS',
    flag: 'webhook-hosts',
    fallback: '',
    help: 'names and addresses by which the API server calls us; default: the Service ips in our namespace',
  },
  certDir: {
    env: 'CERT_DIR',
    flag: 'cert-dir',
    fallback: '',
    help: 'folder with tls.crt, tls.key and ca.crt; default: our own authority',
  },
  certSecret: {
    env: 'CERT_SECRET',
    flag: 'cert-secret',
    fallback: 'ips-certificates',
    help: 'Secret in our namespace in which our own authority is kept',
  },
  kubeconfig: {
    env: 'KUBECONFIG',
    flag: 'kubeconfig',
    fallback: '',
    help: 'kubeconfig file; default: the service account of our pod',
  },
  excludedNamespaces: {
    env: 'EXCLUDED_NAMESPACES',
    flag: 'excluded-namespaces',
    fallback: 'kube-system',
    help: 'namespaces that are left alone, beside our own',
  },
  customWorkloads: {
    env: 'CUSTOM_WORKLOADS',
    flag: 'custom-workloads',
    fallback: DEFAULT_CUSTOM_WORKLOADS,
    help: 'custom resources that start pods, each PLURAL.GROUP/VERSION:KIND:PATH of the pod template; "none" for none',
  },
  maxActiveTasks: {
    env: 'MAX_ACTIVE_TASKS',
    flag: 'max-active-tasks',
    fallback: '3',
    help: 'tasks that warm at the same time',
  },
  maxNamespaceTasks: {
    env: 'MAX_NAMESPACE_TASKS',
    flag: 'max-namespace-tasks',
    fallback: '2',
    help: 'of these, those of one namespace',
  },
  maxConcurrentPulls: {
    env: 'MAX_CONCURRENT_PULLS',
    flag: 'max-concurrent-pulls',
    fallback: '50',
    help: 'warmers that pull at the same time, over all tasks and replicas',
  },
  resyncSeconds: {
    env: 'RESYNC_SECONDS',
    flag: 'resync-seconds',
    fallback: '600',
    help: 'how often all workloads are looked at for annotations that admission missed',
  },
  drainSeconds: {
    env: 'DRAIN_SECONDS',
    flag: 'drain-seconds',
    fallback: '5',
    help: 'how long admission goes on after SIGTERM, until the API server calls other replicas',
  },
  collectedRetrySeconds: {
    env: 'COLLECTED_RETRY_SECONDS',
    flag: 'collected-retry-seconds',
    fallback: '600',
    help: 'how long a node waits whose kubelet removed an image a second time; then twice that, at most 24 times',
  },
  logLevel: {
    env: 'LOG_LEVEL',
    flag: 'log-level',
    fallback: 'info',
    help: 'trace, debug, info, warn, error or fatal',
  },
  coordination: {
    env: 'COORDINATION',
    flag: 'coordination',
    fallback: '',
    help: 'how several replicas share the work: redis, lease, or memory (one replica); default: redis where REDIS_ADDRESSES is set',
  },
  redisAddresses: {
    env: 'REDIS_ADDRESSES',
    flag: 'redis-addresses',
    fallback: '',
    help: '1, 3 or 5 independent Redis servers, each host:port or, by TLS, rediss://host:port',
  },
  queueRedisAddress: {
    env: 'QUEUE_REDIS_ADDRESS',
    flag: 'queue-redis-address',
    fallback: '',
    help: 'the server that counts tasks and warmers; default: the first of REDIS_ADDRESSES',
  },
  redisUsername: {
    env: 'REDIS_USERNAME',
    flag: 'redis-username',
    fallback: '',
    help: "user on all of these; default: Redis's own",
  },
  redisPassword: { env: 'REDIS_PASSWORD', flag: '', fallback: '', help: 'its password' },
  redisPasswordFile: {
    env: 'REDIS_PASSWORD_FILE',
    flag: 'redis-password-file',
    fallback: '',
    help: 'file with its password, read again for each connection',
  },
  redisTlsCaFile: {
    env: 'REDIS_TLS_CA_FILE',
    flag: 'redis-tls-ca-file',
    fallback: '',
    help: "CA of the servers' certificates (PEM); default: those that Node knows",
  },
  redisPrefix: {
    env: 'REDIS_PREFIX',
    flag: 'redis-prefix',
    fallback: 'ips',
    help: 'begins every key; clusters that share servers need one each',
  },
} as const satisfies Record<keyof Config, Option>;

export type Command =
  | { run: 'serve'; config: Config }
  | { run: 'uninstall'; kubeconfig: string; dryRun: boolean; customWorkloads: WorkloadType[] }
  | { run: 'help' | 'version' };

export type ConfigResult = { ok: true; command: Command } | { ok: false; errors: string[] };

const PULL_STRATEGIES = ['auto', 'image-volume', 'injected-noop'] as const;
/** The empty one: by what else is set. */
const COORDINATIONS = ['', 'memory', 'redis', 'lease'] as const;
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

/** Reads the command line and the environment; either everything is right, or every mistake is told at once. */
export function readConfig(args: string[], environment: NodeJS.ProcessEnv): ConfigResult {
  if (args[0] === 'uninstall') return readUninstall(args.slice(1), environment);
  const errors: string[] = [];
  const flags = readFlags(args, SERVER_FLAGS, errors);
  if (flags['help']) return { ok: true, command: { run: 'help' } };
  if (flags['version']) return { ok: true, command: { run: 'version' } };
  const config = readSettings(flags, environment, errors);
  return errors.length > 0 ? { ok: false, errors } : { ok: true, command: { run: 'serve', config } };
}

/** Every setting, from its flag, its variable, or its default; mistakes are added to `errors`. */
export function readSettings(flags: Flags, environment: NodeJS.ProcessEnv, errors: string[]): Config {
  const raw = (name: keyof Config): string => {
    const { env, flag, fallback } = OPTIONS[name];
    const given = flags[flag];
    return (flag && typeof given === 'string' ? given : environment[env]?.trim()) || fallback;
  };
  const optional = (name: keyof Config): string | undefined => raw(name) || undefined;
  const fail = (name: keyof Config, problem: string): void => {
    errors.push(`${OPTIONS[name].env} (--${OPTIONS[name].flag}): ${JSON.stringify(raw(name))} ${problem}`);
  };
  const integer = (name: keyof Config, least: number, most: number): number => {
    const value = /^\d{1,9}$/.test(raw(name)) ? Number(raw(name)) : Number.NaN;
    if (!(value >= least && value <= most)) fail(name, `must be a whole number from ${least} to ${most}`);
    return value;
  };
  const objectName = (name: keyof Config): string => {
    if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(raw(name)))
      fail(name, 'must be a name of lower-case letters, digits and -');
    return raw(name);
  };
  /** A namespace is part of host names, so it has no dots. */
  const namespaceName = (name: keyof Config): string => {
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(raw(name)))
      fail(name, 'must be a name of lower-case letters, digits and -');
    return raw(name);
  };
  /** Braces have a meaning in the keys of a Redis cluster. */
  const keyPrefix = (name: keyof Config): string => {
    if (!/^[\w.:-]+$/.test(raw(name))) fail(name, 'must be letters, digits, and . _ : -');
    return raw(name);
  };
  const image = (name: keyof Config): string => {
    if (!parseImageReference(raw(name)).ok) fail(name, 'is not an image reference');
    return raw(name);
  };
  const oneOf = <T extends string>(name: keyof Config, allowed: readonly T[]): T => {
    const value = raw(name) as T;
    if (!allowed.includes(value)) fail(name, `must be one of ${allowed.filter(Boolean).join(', ')}`);
    return value;
  };
  const list = (name: keyof Config): string[] =>
    raw(name)
      .split(',')
      .map((item) => item.trim())
      .filter(Boolean);

  const addresses = (name: keyof Config): RedisAddress[] => {
    const { addresses, problems } = readRedisAddresses(list(name));
    for (const problem of problems) errors.push(`${OPTIONS[name].env} (--${OPTIONS[name].flag}): ${problem}`);
    return addresses;
  };

  const address = (name: keyof Config): RedisAddress | undefined => {
    const [first, ...more] = addresses(name);
    if (more.length > 0) fail(name, 'must be one server');
    return first;
  };

  const workloadTypes = (name: keyof Config): WorkloadType[] => {
    const { types, errors: problems } = readCustomWorkloads(raw(name));
    for (const problem of problems) errors.push(`${OPTIONS[name].env} (--${OPTIONS[name].flag}): ${problem}`);
    return types;
  };

  const namespace = namespaceName('namespace');
  const hosts = list('webhookHosts');
  const config: Config = {
    serverPort: integer('serverPort', 0, 65_535),
    webhookPort: integer('webhookPort', 0, 65_535),
    namespace,
    workerImage: image('workerImage'),
    pullStrategy: oneOf('pullStrategy', PULL_STRATEGIES),
    workerImageLegacy: raw('workerImageLegacy') && image('workerImageLegacy'),
    warmerPriorityClass: raw('warmerPriorityClass') === 'none' ? '' : objectName('warmerPriorityClass'),
    webhookConfiguration: objectName('webhookConfiguration'),
    webhookHosts: hosts.length > 0 ? hosts : [`ips.${namespace}.svc`],
    certDir: optional('certDir'),
    certSecret: objectName('certSecret'),
    kubeconfig: optional('kubeconfig'),
    excludedNamespaces: [...new Set([namespace, ...list('excludedNamespaces')])],
    customWorkloads: workloadTypes('customWorkloads'),
    maxActiveTasks: integer('maxActiveTasks', 1, 1000),
    maxNamespaceTasks: integer('maxNamespaceTasks', 1, 1000),
    maxConcurrentPulls: integer('maxConcurrentPulls', 1, 10_000),
    resyncSeconds: integer('resyncSeconds', 1, 86_400),
    drainSeconds: integer('drainSeconds', 0, 300),
    collectedRetrySeconds: integer('collectedRetrySeconds', 1, 86_400),
    logLevel: oneOf('logLevel', LOG_LEVELS),
    coordination: oneOf('coordination', COORDINATIONS) || (raw('redisAddresses') ? 'redis' : 'memory'),
    redisAddresses: addresses('redisAddresses'),
    queueRedisAddress: address('queueRedisAddress'),
    redisUsername: optional('redisUsername'),
    redisPassword: optional('redisPassword'),
    redisPasswordFile: optional('redisPasswordFile'),
    redisTlsCaFile: optional('redisTlsCaFile'),
    redisPrefix: keyPrefix('redisPrefix'),
  };
  if (config.pullStrategy === 'injected-noop' && !config.workerImageLegacy)
    fail('workerImageLegacy', 'must name the image of the no-op, which PULL_STRATEGY asks for');
  if (config.serverPort !== 0 && config.serverPort === config.webhookPort)
    fail('webhookPort', 'is also the SERVER_PORT');
  // Of addresses that cannot be read, that alone is told.
  if (list('redisAddresses').length === config.redisAddresses.length)
    errors.push(...coordinationProblems(config));
  return config;
}

/** What does not go together in how replicas share the work. Shows no value: one is a password. */
function coordinationProblems(config: Config): string[] {
  const { coordination, redisAddresses, queueRedisAddress, redisUsername, redisTlsCaFile } = config;
  const isSecured = Boolean(config.redisPassword || config.redisPasswordFile);
  const addresses = queueRedisAddress ? [...redisAddresses, queueRedisAddress] : redisAddresses;
  const count = serverCountProblem(redisAddresses.length);
  const problems: [boolean, string][] = [
    [coordination === 'redis' && redisAddresses.length === 0, 'COORDINATION: redis needs REDIS_ADDRESSES'],
    [
      coordination !== 'redis' && Boolean(queueRedisAddress) && redisAddresses.length === 0,
      'QUEUE_REDIS_ADDRESS needs REDIS_ADDRESSES: by it alone replicas share no work',
    ],
    [
      coordination !== 'redis' && redisAddresses.length > 0,
      `COORDINATION: ${coordination} does not use the Redis servers that are named; leave one of the two out`,
    ],
    [count !== undefined, `REDIS_ADDRESSES ${count}`],
    [
      Boolean(config.redisPassword && config.redisPasswordFile),
      'REDIS_PASSWORD and REDIS_PASSWORD_FILE are both set: give one',
    ],
    [Boolean(redisUsername) && !isSecured, 'REDIS_USERNAME needs REDIS_PASSWORD or REDIS_PASSWORD_FILE'],
    [
      Boolean(redisTlsCaFile) && !addresses.some(({ tls }) => tls),
      'REDIS_TLS_CA_FILE is not used: no address begins with rediss://',
    ],
  ];
  return problems.filter(([found]) => found).map(([, text]) => text);
}

function readUninstall(args: string[], environment: NodeJS.ProcessEnv): ConfigResult {
  try {
    const { values } = parseArgs({
      args,
      options: {
        kubeconfig: { type: 'string' },
        'custom-workloads': { type: 'string' },
        'dry-run': { type: 'boolean', default: false },
        help: { type: 'boolean' },
      },
    });
    if (values.help) return { ok: true, command: { run: 'help' } };
    const kubeconfig = values.kubeconfig || environment['KUBECONFIG'] || join(homedir(), '.kube/config');
    const named = values['custom-workloads'] || environment['CUSTOM_WORKLOADS'] || DEFAULT_CUSTOM_WORKLOADS;
    const { types: customWorkloads, errors } = readCustomWorkloads(named);
    if (errors.length > 0) return { ok: false, errors };
    return {
      ok: true,
      command: { run: 'uninstall', kubeconfig, dryRun: values['dry-run'], customWorkloads },
    };
  } catch (error) {
    return { ok: false, errors: [error instanceof Error ? error.message : String(error)] };
  }
}

export type FlagType = { type: 'string' | 'boolean'; multiple?: boolean; short?: string };
export type Flags = Record<string, string | string[] | boolean | undefined>;

const SERVER_FLAGS: Record<string, FlagType> = {
  ...Object.fromEntries(
    Object.values(OPTIONS)
      .filter(({ flag }) => flag)
      .map(({ flag }) => [flag, { type: 'string' as const }]),
  ),
  help: { type: 'boolean' },
  version: { type: 'boolean' },
};

/** Reads the flags of a command; mistakes are added to `errors`, all of them. */
export function readFlags(args: string[], options: Record<string, FlagType>, errors: string[]): Flags {
  // Not strict: that stops at the first mistake.
  const { tokens } = parseArgs({ args, options, strict: false, tokens: true });
  const flags: Flags = {};
  for (const token of tokens) {
    if (token.kind === 'positional')
      errors.push(`unexpected argument ${JSON.stringify(token.value)} (see --help)`);
    if (token.kind !== 'option') continue;
    const { name, rawName, value } = token;
    const option = Object.hasOwn(options, name) ? options[name] : undefined;
    const problem = flagProblem(option?.type, value);
    if (problem) errors.push(`${rawName} ${problem} (see --help)`);
    else if (option?.multiple) flags[name] = [...((flags[name] as string[] | undefined) ?? []), value ?? ''];
    else flags[name] = value ?? true;
  }
  return flags;
}

function flagProblem(type: 'string' | 'boolean' | undefined, value: string | undefined): string | undefined {
  if (!type) return 'is not a flag';
  if (type === 'boolean') return value === undefined ? undefined : 'takes no value';
  return value ? undefined : 'needs a value';
}

export function helpText(): string {
  const lines = Object.values(OPTIONS).map(({ env, flag, fallback, help }) => {
    const left = (flag && `  --${flag} VALUE`).padEnd(34);
    return `${left}${env.padEnd(24)}${help}${fallback ? ` [${fallback}]` : ''}`;
  });
  return [
    'ips: warms container images on Kubernetes nodes before pods need them',
    '',
    'usage: ips [FLAGS]     runs admission and the controller; flags go before environment variables',
    '       ips uninstall [--kubeconfig FILE] [--custom-workloads LIST] [--dry-run]',
    '                       takes IPS, and all that it wrote, out of a cluster',
    '       ips plan …      shows which images IPS would bring to which nodes; changes nothing (ips plan --help)',
    '',
    ...lines,
    `  ${'--version'.padEnd(32)}${''.padEnd(24)}prints the version`,
    `  ${'--help'.padEnd(32)}${''.padEnd(24)}prints this`,
    '',
  ].join('\n');
}
