import { describe, expect, test } from 'vitest';
import { ASSUMED_LEGACY_IMAGE, planHelp, readPlan } from './plan-options.ts';

const FILES = ['-f', 'a.yaml', '--nodes', 'n.yaml'];

function read(args: string[], environment: NodeJS.ProcessEnv = {}) {
  const result = readPlan(args, environment);
  if (!result.ok) throw new Error(result.errors.join('\n'));
  return result.command;
}

function settingsOf(args: string[], environment: NodeJS.ProcessEnv = {}) {
  const command = read([...FILES, ...args], environment);
  if (command.run !== 'plan') throw new Error(command.run);
  return command.options.settings;
}

describe('readPlan', () => {
  test('reads files, nodes and the form of the output', () => {
    const command = read(['-f', 'a.yaml', '--filename=-', '--nodes', 'n.json', '-o', 'wide', '-n', 'shop']);
    expect(command).toMatchObject({
      run: 'plan',
      options: {
        files: ['a.yaml', '-'],
        nodeFiles: ['n.json'],
        cluster: undefined,
        format: 'wide',
        namespace: 'shop',
      },
    });
  });

  test.each<[string, string[], object]>([
    ['a context', ['--context', 'x'], { kubeconfig: undefined, context: 'x' }],
    ['a kubeconfig alone', ['--kubeconfig', 'f'], { kubeconfig: 'f', context: undefined }],
    ['both', ['--kubeconfig', 'f', '--context', 'x'], { kubeconfig: 'f', context: 'x' }],
  ])('asks a cluster by %s', (_what, args, cluster) => {
    expect(read(['-f', 'a.yaml', ...args])).toMatchObject({ options: { cluster, format: 'table' } });
  });

  test.each<[string, string[], string]>([
    ['no file', ['--nodes', 'n'], '-f is missing'],
    ['nodes from two places', [...FILES, '--context', 'x'], 'choose one'],
    ['an unknown format', [...FILES, '-o', 'xml'], '-o xml: must be one of json, yaml, wide'],
    ['standard input twice', ['-f', '-', '--nodes', '-'], 'only once'],
    ['an unknown flag', [...FILES, '--nope'], '--nope is not a flag'],
    ['a flag without its value', ['--nodes', 'n', '-f'], '-f needs a value'],
    ['an argument too many', [...FILES, 'x'], 'unexpected argument "x"'],
    ['a file beside --stream', ['--stream', '-f', 'a'], '--filename is not for --stream'],
    ['a wrong setting', [...FILES, '--pull-strategy', 'x'], 'PULL_STRATEGY (--pull-strategy)'],
    ["another command's flag", [...FILES, '--server-port', '1'], '--server-port is not a flag'],
  ])('refuses %s', (_what, args, wanted) => {
    const result = readPlan(args, {});
    expect(result.ok ? '' : result.errors.join('\n')).toContain(wanted);
  });

  test('tells every mistake at once', () => {
    const result = readPlan(['-o', 'xml', '--nope'], {});
    expect(result.ok ? [] : result.errors).toHaveLength(3);
  });

  test('leaves alone the variables that do not concern it', () => {
    const environment = { LOG_LEVEL: 'shout', SERVER_PORT: 'x', K8S_NAMESPACE: '?' };
    expect(readPlan(FILES, environment).ok).toBe(true);
  });

  test('counts on the no-op until somebody says that there is none', () => {
    expect(settingsOf([])).toMatchObject({ legacyAssumed: true, workerImageLegacy: ASSUMED_LEGACY_IMAGE });
    expect(settingsOf([], { WORKER_IMAGE_LEGACY: '' })).toMatchObject({
      legacyAssumed: false,
      workerImageLegacy: '',
    });
    expect(settingsOf([], { WORKER_IMAGE_LEGACY: 'r.example/noop:1' })).toMatchObject({
      ...{ legacyAssumed: false, workerImageLegacy: 'r.example/noop:1' },
    });
    expect(settingsOf(['--worker-image-legacy', 'r.example/noop:2'])).toMatchObject({ legacyAssumed: false });
    expect(settingsOf(['--pull-strategy', 'injected-noop'])).toMatchObject({ legacyAssumed: true });
  });

  test('takes the settings of IPS by flag before variable', () => {
    const environment = {
      PULL_STRATEGY: 'injected-noop',
      MAX_CONCURRENT_PULLS: '7',
      EXCLUDED_NAMESPACES: 'a,b',
    };
    expect(settingsOf(['--pull-strategy', 'image-volume'], environment)).toMatchObject({
      ...{ strategy: 'image-volume', maxConcurrentPulls: 7, excludedNamespaces: ['ips-system', 'a', 'b'] },
    });
  });

  test('tells every flag in its help', () => {
    const help = planHelp();
    for (const flag of [
      '--filename',
      '--nodes',
      '--context',
      '--kubeconfig',
      '--namespace',
      '--output',
      '--stream',
    ])
      expect(help).toContain(flag);
    expect(read(['-h'])).toEqual({ run: 'help' });
    expect(read(['--stream', '--help'])).toEqual({ run: 'help' });
  });
});
