import { describe, expect, it } from 'vitest';
import { type Config, helpText, readConfig } from './config.ts';

const DEFAULTS: Config = {
  serverPort: 8080,
  webhookPort: 9443,
  namespace: 'ips-system',
  workerImage: 'registry.k8s.io/pause:3.10',
  pullStrategy: 'auto',
  workerImageLegacy: '',
  warmerPriorityClass: 'ips-warmer',
  webhookConfiguration: 'ips',
  webhookHosts: ['ips.ips-system.svc'],
  certDir: undefined,
  certSecret: 'ips-certificates',
  kubeconfig: undefined,
  excludedNamespaces: ['ips-system', 'kube-system'],
  customWorkloads: [
    {
      ...{ apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', plural: 'rollouts', custom: true },
      templatePath: ['spec', 'template'],
    },
  ],
  maxActiveTasks: 3,
  maxNamespaceTasks: 2,
  maxConcurrentPulls: 50,
  resyncSeconds: 600,
  drainSeconds: 5,
  collectedRetrySeconds: 600,
  logLevel: 'info',
  coordination: 'memory',
  redisAddresses: [],
  queueRedisAddress: undefined,
  redisUsername: undefined,
  redisPassword: undefined,
  redisPasswordFile: undefined,
  redisTlsCaFile: undefined,
  redisPrefix: 'ips',
};

type Environment = Record<string, string>;

function config(args: string[], environment: Environment = {}): Config {
  const result = readConfig(args, environment);
  if (!result.ok || result.command.run !== 'serve') throw new Error(JSON.stringify(result));
  return result.command.config;
}

function errors(args: string[], environment: Environment = {}): string[] {
  const result = readConfig(args, environment);
  return result.ok ? [] : result.errors;
}

describe('readConfig', () => {
  it.each<{ what: string; args?: string[]; environment?: Environment; change?: Partial<Config> }>([
    { what: 'has a default for everything' },
    {
      what: 'takes an empty or blank variable for one that is not set',
      environment: { SERVER_PORT: '', K8S_NAMESPACE: '  ', CERT_DIR: '' },
    },
    {
      what: 'reads every variable',
      environment: {
        SERVER_PORT: '1',
        WEBHOOK_PORT: '65535',
        K8S_NAMESPACE: 'tools',
        WORKER_IMAGE: 'mirror.example/pause:3.10',
        PULL_STRATEGY: 'injected-noop',
        WORKER_IMAGE_LEGACY: 'mirror.example/noop:1',
        WARMER_PRIORITY_CLASS: 'low',
        WEBHOOK_CONFIGURATION: 'ips-2',
        WEBHOOK_HOSTS: '10.0.0.1, localhost,',
        CERT_DIR: '/certs',
        CERT_SECRET: 'ips-tls',
        KUBECONFIG: '/kubeconfig',
        EXCLUDED_NAMESPACES: 'a,b',
        CUSTOM_WORKLOADS: 'fleets.shop.example/v1:Fleet:spec.a.b',
        MAX_ACTIVE_TASKS: '1000',
        MAX_CONCURRENT_PULLS: '10000',
        RESYNC_SECONDS: '86400',
        DRAIN_SECONDS: '0',
        COLLECTED_RETRY_SECONDS: '1',
        LOG_LEVEL: 'trace',
      },
      change: {
        serverPort: 1,
        webhookPort: 65_535,
        namespace: 'tools',
        workerImage: 'mirror.example/pause:3.10',
        pullStrategy: 'injected-noop',
        workerImageLegacy: 'mirror.example/noop:1',
        warmerPriorityClass: 'low',
        webhookConfiguration: 'ips-2',
        webhookHosts: ['10.0.0.1', 'localhost'],
        certDir: '/certs',
        certSecret: 'ips-tls',
        kubeconfig: '/kubeconfig',
        excludedNamespaces: ['tools', 'a', 'b'],
        customWorkloads: [
          {
            ...{ apiVersion: 'shop.example/v1', kind: 'Fleet', plural: 'fleets', custom: true },
            templatePath: ['spec', 'a', 'b'],
          },
        ],
        maxActiveTasks: 1000,
        maxConcurrentPulls: 10_000,
        resyncSeconds: 86_400,
        drainSeconds: 0,
        collectedRetrySeconds: 1,
        logLevel: 'trace',
      },
    },
    {
      what: 'takes a flag before its variable',
      args: ['--server-port=81', '--log-level', 'warn'],
      environment: { SERVER_PORT: '82', LOG_LEVEL: 'nonsense' },
      change: { serverPort: 81, logLevel: 'warn' },
    },
    {
      what: 'lets the system choose both ports',
      args: ['--server-port=0', '--webhook-port=0'],
      change: { serverPort: 0, webhookPort: 0 },
    },
    {
      what: 'names its Service in its own namespace',
      args: ['--namespace=tools', '--excluded-namespaces=kube-system,tools'],
      change: {
        namespace: 'tools',
        webhookHosts: ['ips.tools.svc'],
        excludedNamespaces: ['tools', 'kube-system'],
      },
    },
    {
      what: 'takes names of one character, of two, and of as many as Kubernetes takes',
      environment: {
        K8S_NAMESPACE: 'n'.repeat(63),
        WARMER_PRIORITY_CLASS: '9',
        WEBHOOK_CONFIGURATION: 'a.9'.repeat(84),
        WEBHOOK_HOSTS: 'localhost',
        EXCLUDED_NAMESPACES: 'k9',
      },
      change: {
        namespace: 'n'.repeat(63),
        warmerPriorityClass: '9',
        webhookConfiguration: 'a.9'.repeat(84),
        webhookHosts: ['localhost'],
        excludedNamespaces: ['n'.repeat(63), 'k9'],
      },
    },
    {
      what: 'takes a namespace of two characters, a digit first',
      environment: { K8S_NAMESPACE: '9n', WEBHOOK_CONFIGURATION: 'i9', WEBHOOK_HOSTS: 'localhost' },
      change: {
        namespace: '9n',
        webhookConfiguration: 'i9',
        webhookHosts: ['localhost'],
        excludedNamespaces: ['9n', 'kube-system'],
      },
    },
    {
      what: 'knows a word for no PriorityClass',
      environment: { WARMER_PRIORITY_CLASS: 'none' },
      change: { warmerPriorityClass: '' },
    },
  ])('$what', ({ args = [], environment = {}, change = {} }) => {
    expect(config(args, environment)).toEqual({ ...DEFAULTS, ...change });
  });

  const [a, b, c] = ['a', 'b', 'c'].map((host) => ({ host, port: 6379, tls: false }));
  const three = { REDIS_ADDRESSES: 'a, b,c' };
  it.each<{ what: string; environment: Environment; change: object }>([
    { what: 'a lease', environment: { COORDINATION: 'lease' }, change: { coordination: 'lease' } },
    {
      what: 'Redis, where its servers are named',
      environment: three,
      change: { coordination: 'redis', redisAddresses: [a, b, c] },
    },
    {
      what: 'Redis with everything that it has',
      environment: {
        ...{ COORDINATION: 'redis', REDIS_ADDRESSES: 'rediss://a', QUEUE_REDIS_ADDRESS: 'b' },
        ...{ REDIS_USERNAME: 'ips', REDIS_PASSWORD: 's3cret', REDIS_TLS_CA_FILE: '/ca', REDIS_PREFIX: 'x' },
      },
      change: {
        ...{ coordination: 'redis', redisAddresses: [{ ...a, tls: true }], queueRedisAddress: b },
        ...{ redisUsername: 'ips', redisPassword: 's3cret', redisTlsCaFile: '/ca', redisPrefix: 'x' },
      },
    },
  ])('lets replicas share the work by $what', ({ environment, change }) => {
    expect(config([], environment)).toEqual({ ...DEFAULTS, ...change });
  });

  it('has no flag for a password, and tells none', () => {
    expect(errors(['--=x', '--redis-password=x'])).toEqual([
      expect.stringContaining('is not a flag'),
      expect.stringContaining('--redis-password is not a flag'),
    ]);
    const environment = {
      REDIS_ADDRESSES: 'redis://u:s3cret@a',
      REDIS_PASSWORD: 's3cret',
      REDIS_PASSWORD_FILE: '/f',
    };
    expect(errors([], environment).join()).toContain('REDIS_PASSWORD');
    expect(errors([], environment).join()).not.toContain('s3cret');
  });

  it.each<{ environment: Environment; error: string }>([
    {
      environment: { COORDINATION: 'redis' },
      error: 'COORDINATION: redis needs REDIS_ADDRESSES',
    },
    {
      environment: { COORDINATION: 'etcd' },
      error: 'COORDINATION (--coordination): "etcd" must be one of memory, redis, lease',
    },
    {
      environment: { ...three, COORDINATION: 'memory' },
      error: 'COORDINATION: memory does not use the Redis servers that are named; leave one of the two out',
    },
    {
      environment: { QUEUE_REDIS_ADDRESS: 'a' },
      error: 'QUEUE_REDIS_ADDRESS needs REDIS_ADDRESSES: by it alone replicas share no work',
    },
    {
      environment: { REDIS_ADDRESSES: 'a,b' },
      error:
        'REDIS_ADDRESSES names 2 servers: a lock needs most of them, so 2 bear no more failures than 1; name 1, 3 or 5',
    },
    {
      environment: { REDIS_ADDRESSES: 'a,b,a' },
      error: 'REDIS_ADDRESSES (--redis-addresses): a:6379 is named twice',
    },
    {
      environment: { ...three, QUEUE_REDIS_ADDRESS: 'a,b' },
      error: 'QUEUE_REDIS_ADDRESS (--queue-redis-address): "a,b" must be one server',
    },
    {
      environment: { ...three, REDIS_USERNAME: 'ips' },
      error: 'REDIS_USERNAME needs REDIS_PASSWORD or REDIS_PASSWORD_FILE',
    },
    {
      environment: { ...three, REDIS_TLS_CA_FILE: '/ca' },
      error: 'REDIS_TLS_CA_FILE is not used: no address begins with rediss://',
    },
    {
      environment: { ...three, REDIS_PREFIX: 'a b' },
      error: 'REDIS_PREFIX (--redis-prefix): "a b" must be letters, digits, and . _ : -',
    },
    {
      environment: { MAX_NAMESPACE_TASKS: '0' },
      error: 'MAX_NAMESPACE_TASKS (--max-namespace-tasks): "0" must be a whole number from 1 to 1000',
    },
    {
      environment: { SERVER_PORT: '65536' },
      error: 'SERVER_PORT (--server-port): "65536" must be a whole number from 0 to 65535',
    },
    {
      environment: { WEBHOOK_PORT: '-1' },
      error: 'WEBHOOK_PORT (--webhook-port): "-1" must be a whole number from 0 to 65535',
    },
    {
      environment: { WEBHOOK_PORT: '8080' },
      error: 'WEBHOOK_PORT (--webhook-port): "8080" is also the SERVER_PORT',
    },
    {
      environment: { MAX_ACTIVE_TASKS: '0' },
      error: 'MAX_ACTIVE_TASKS (--max-active-tasks): "0" must be a whole number from 1 to 1000',
    },
    {
      environment: { MAX_CONCURRENT_PULLS: '1e3' },
      error: 'MAX_CONCURRENT_PULLS (--max-concurrent-pulls): "1e3" must be a whole number from 1 to 10000',
    },
    {
      environment: { RESYNC_SECONDS: '10m' },
      error: 'RESYNC_SECONDS (--resync-seconds): "10m" must be a whole number from 1 to 86400',
    },
    {
      environment: { K8S_NAMESPACE: 'Tools' },
      error: 'K8S_NAMESPACE (--namespace): "Tools" must be a name of lower-case letters, digits and -',
    },
    {
      environment: { K8S_NAMESPACE: 'my.tools' },
      error: 'K8S_NAMESPACE (--namespace): "my.tools" must be a name of lower-case letters, digits and -',
    },
    {
      environment: { K8S_NAMESPACE: 'n'.repeat(64) },
      error: expect.stringContaining('must be a name of lower-case letters, digits and -'),
    },
    {
      environment: { WEBHOOK_CONFIGURATION: 'n'.repeat(254) },
      error: expect.stringContaining('must be a name of lower-case letters, digits and -'),
    },
    {
      environment: { WARMER_PRIORITY_CLASS: '-low' },
      error: expect.stringMatching(
        /^WARMER_PRIORITY_CLASS \(--warmer-priority-class\): "-low" must be a name/,
      ),
    },
    {
      environment: { WEBHOOK_CONFIGURATION: 'a b' },
      error: expect.stringMatching(
        /^WEBHOOK_CONFIGURATION \(--webhook-configuration\): "a b" must be a name/,
      ),
    },
    {
      environment: { WORKER_IMAGE: 'pause 3' },
      error: 'WORKER_IMAGE (--worker-image): "pause 3" is not an image reference',
    },
    {
      environment: { PULL_STRATEGY: 'noop' },
      error: 'PULL_STRATEGY (--pull-strategy): "noop" must be one of auto, image-volume, injected-noop',
    },
    {
      environment: { WORKER_IMAGE_LEGACY: 'noop 1' },
      error: 'WORKER_IMAGE_LEGACY (--worker-image-legacy): "noop 1" is not an image reference',
    },
    {
      environment: { PULL_STRATEGY: 'injected-noop' },
      error:
        'WORKER_IMAGE_LEGACY (--worker-image-legacy): "" must name the image of the no-op, which PULL_STRATEGY asks for',
    },
    {
      environment: { CUSTOM_WORKLOADS: 'rollouts.argoproj.io/v1alpha1:Rollout:spec.template,Fleet' },
      error:
        'CUSTOM_WORKLOADS (--custom-workloads): "Fleet" must be PLURAL.GROUP/VERSION:KIND:PATH, such as rollouts.argoproj.io/v1alpha1:Rollout:spec.template; PATH begins with spec and leads to the pod template',
    },
    {
      environment: { LOG_LEVEL: 'verbose' },
      error: 'LOG_LEVEL (--log-level): "verbose" must be one of trace, debug, info, warn, error, fatal',
    },
  ])('refuses $environment', ({ environment, error }) => {
    expect(errors([], environment)).toEqual([error]);
  });

  it('tells every mistake at once', () => {
    const environment = { SERVER_PORT: 'x', WEBHOOK_PORT: 'y', LOG_LEVEL: 'z', MAX_ACTIVE_TASKS: '-3' };
    expect(errors([], environment).map((error) => error.split(' ')[0])).toEqual([
      'SERVER_PORT',
      'WEBHOOK_PORT',
      'MAX_ACTIVE_TASKS',
      'LOG_LEVEL',
    ]);
  });

  it('tells every mistake at once, also beside a flag that does not exist', () => {
    expect(errors(['--bogus', '--server-port=x'])).toEqual([
      expect.stringContaining('--bogus'),
      'SERVER_PORT (--server-port): "x" must be a whole number from 0 to 65535',
    ]);
  });

  it.each<{ what: string; args: string[]; error: RegExp }>([
    {
      what: 'a flag that does not exist',
      args: ['--port=1'],
      error: /^--port is not a flag \(see --help\)$/,
    },
    { what: 'a short flag', args: ['-h'], error: /^-h is not a flag \(see --help\)$/ },
    { what: 'a question with a value', args: ['--help=x'], error: /^--help takes no value \(see --help\)$/ },
    { what: 'a flag with an empty value', args: ['--cert-dir='], error: /^--cert-dir needs a value/ },
    { what: 'a word that is no flag', args: ['serve'], error: /serve.*\(see --help\)$/ },
    {
      what: 'a flag that another one follows instead of its value',
      args: ['--worker-image', '--log-level=debug'],
      error: /--worker-image/,
    },
    { what: 'a flag without its value', args: ['--server-port'], error: /--server-port.*\(see --help\)$/ },
  ])('refuses $what, and says where help is', ({ args, error }) => {
    expect(errors(args)).toEqual([expect.stringMatching(error)]);
  });

  it.each<{ args: string[]; run: string }>([
    { args: ['--help'], run: 'help' },
    { args: ['--version'], run: 'version' },
    { args: ['--version', '--help'], run: 'help' },
    { args: ['--help', '--server-port=x'], run: 'help' },
  ])('$args asks for $run, whatever is wrong besides', ({ args, run }) => {
    expect(readConfig(args, { SERVER_PORT: 'x' })).toEqual({ ok: true, command: { run } });
  });
});

it('the help names each flag with its variable and its default', () => {
  const lines = helpText().split('\n');
  expect(lines).toContain(
    '  --server-port VALUE             SERVER_PORT             port of health, metrics and the REST API (HTTP) [8080]',
  );
  expect(lines.filter((line) => /^ +REDIS_PASSWORD +its password$/.test(line))).toHaveLength(1);
  const settings = Object.keys(DEFAULTS).filter((name) => name !== 'redisPassword');
  for (const flag of settings.map((name) => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)))
    expect(lines.filter((line) => line.startsWith(`  --${flag} `))).toHaveLength(1);
  for (const flag of ['help', 'version'])
    expect(lines.filter((line) => line.startsWith(`  --${flag} `))).toHaveLength(1);
  expect(lines.find((line) => line.includes('--cert-dir'))).toMatch(/our own authority$/);
});
