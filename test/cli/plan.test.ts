import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { INPUTS, ips } from './process.ts';

/** `ips plan` as users run it: as a process, on files. `vitest -u` writes golden/ anew. */

const SHOP = ['plan', '-f', 'shop.yaml', '--nodes', 'nodes.json'];
const POD = 'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: nginx}]}\n';
const NODE = '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}}';

type Plan = {
  workloads: { name: string; nodes: object[]; because?: string; warnings: string[] }[];
  problems: object[];
};

const plan = (args: string[], input?: string, env?: NodeJS.ProcessEnv) =>
  ips(args, { cwd: INPUTS, ...(input === undefined ? {} : { input }), ...(env ? { env } : {}) });

describe('golden outputs', () => {
  test.each<[string, string[]]>([
    ['table.txt', []],
    ['wide.txt', ['-o', 'wide']],
    ['json.txt', ['-o', 'json']],
    ['yaml.txt', ['-o', 'yaml']],
  ])('%s', async (file, args) => {
    const { code, stdout, stderr } = await plan([...SHOP, ...args]);
    expect([code, stderr]).toEqual([
      0,
      'ips plan: shop.yaml, document 2, line 22: Service shop/web of v1 is no workload: passed over\n',
    ]);
    await expect(stdout).toMatchFileSnapshot(join('golden', file));
  });

  test('JSON and YAML say the same', async () => {
    const [json, yaml] = await Promise.all(['json', 'yaml'].map((format) => plan([...SHOP, '-o', format])));
    expect(parse(yaml?.stdout ?? '')).toEqual(JSON.parse(json?.stdout ?? ''));
  });
});

describe('files', () => {
  test('several files, standard input among them, are one input; nodes may stand beside workloads', async () => {
    const text = await readFile(join(INPUTS, 'shop.yaml'), 'utf8');
    const { code, stdout } = await plan(
      ['plan', '-f', 'nodes.json', '-f', '-', '-o', 'json'],
      `${POD}---\n${text}`,
    );
    expect(code).toBe(0);
    const { workloads } = JSON.parse(stdout) as Plan;
    expect(workloads.map(({ name }) => name)).toEqual(['p', 'web', 'batch', 'once']);
  });

  test('nodes may come by standard input', async () => {
    const nodes = await readFile(join(INPUTS, 'nodes.json'), 'utf8');
    const [piped, read] = await Promise.all([
      plan(['plan', '-f', 'shop.yaml', '--nodes', '-'], nodes),
      plan(SHOP),
    ]);
    expect([piped.code, piped.stdout]).toEqual([0, read.stdout]);
  });

  test('a namespace that no object names is the one that was asked for', async () => {
    const { stdout } = await plan(['plan', '-f', '-', '--nodes', 'nodes.json', '-n', 'kube-system'], POD);
    expect(stdout).toContain('Pod kube-system/p:');
    expect(stdout).toContain('namespace kube-system is left alone (EXCLUDED_NAMESPACES)');
  });

  test('every kind that starts pods is a workload, also a custom one that the settings name', async () => {
    const env = {
      CUSTOM_WORKLOADS:
        'fleets.shop.example/v1:Fleet:spec.group.template,rollouts.argoproj.io/v1alpha1:Rollout:spec.template',
    };
    const args = ['plan', '-f', 'kinds.yaml', '--nodes', 'nodes.json', '-o', 'json'];
    const [named, unnamed] = await Promise.all([plan(args, undefined, env), plan(args)]);
    const { workloads } = JSON.parse(named.stdout) as Plan;
    const table = workloads.map(({ name, nodes, because, warnings }) => [
      name,
      nodes.length,
      because,
      warnings.length,
    ]);
    expect(table).toEqual([
      // Its controller has it tolerate a cordon, and a node that is not ready gets nothing all the same.
      ['agent', 10, undefined, 1],
      ['database', 9, undefined, 1],
      ['nightly', 9, undefined, 1],
      ['web-1', 9, 'it belongs to another workload, which counts in its place', 1],
      // What cannot be read of a custom resource is a warning, as it is to IPS.
      ['canary', 9, undefined, 2],
      ['fleet', 9, undefined, 1],
    ]);
    expect([named.code, named.stderr, unnamed.code]).toEqual([0, '', 0]);
    expect(unnamed.stderr).toContain('Fleet fleet of shop.example/v1 is no workload: passed over');
  });

  test('nodes that were copied with their uid are different nodes', async () => {
    const nodes = ['a', 'b'].map(
      (name) => `{apiVersion: v1, kind: Node, metadata: {name: ${name}, uid: same}}`,
    );
    const { stdout } = await plan(['plan', '-f', '-', '-o', 'json'], [POD, ...nodes].join('\n---\n'));
    const { workloads } = JSON.parse(stdout) as Plan;
    expect(workloads[0]?.nodes).toMatchObject([
      { name: 'a', batch: 1 },
      { name: 'b', batch: 1 },
    ]);
  });

  test('settings come by variable or flag', async () => {
    const [without, only] = await Promise.all([
      plan(SHOP, undefined, { WORKER_IMAGE_LEGACY: '' }),
      plan([...SHOP, '--pull-strategy', 'image-volume']),
    ]);
    expect(without.stdout).toMatch(/web-old .*WORKER_IMAGE_LEGACY is not set/);
    expect(only.stdout).toMatch(/web-old .*left out: kubelet v1.31.2 cannot mount image volumes/);
  });
});

describe('wrong input: what, where, and exit code 2', () => {
  test.concurrent.each<[string, string[], string | undefined, RegExp]>([
    ['no file', ['plan', '--nodes', 'nodes.json'], undefined, /^ips plan: -f is missing/],
    [
      'no nodes',
      ['plan', '-f', 'shop.yaml'],
      undefined,
      /shop.yaml: there is no Node in it: give nodes by --nodes FILE/,
    ],
    [
      'a file that is not there',
      ['plan', '-f', 'none.yaml', '--nodes', 'nodes.json'],
      undefined,
      /none.yaml: cannot be read: ENOENT/,
    ],
    ['a folder', ['plan', '-f', '/', '--nodes', 'nodes.json'], undefined, /\/: cannot be read: EISDIR/],
    [
      'no workload',
      ['plan', '-f', '-', '--nodes', 'nodes.json'],
      'kind: Service\napiVersion: v1\n',
      /there is no workload in it/,
    ],
    [
      'nothing',
      ['plan', '-f', '-', '--nodes', 'nodes.json'],
      '',
      /standard input: there is no workload in it/,
    ],
    [
      'a wrong type',
      ['plan', '-f', '-', '--nodes', 'nodes.json'],
      POD.replace('nginx', '[1]'),
      /standard input, document 1, line 4: spec.containers\[0\].image must be a string, not a list/,
    ],
    [
      'a node without a name',
      ['plan', '-f', 'shop.yaml', '--nodes', '-'],
      '{"apiVersion":"v1","kind":"Node","metadata":{}}',
      /document 1: metadata.name is missing/,
    ],
    [
      'a node twice',
      ['plan', '-f', 'shop.yaml', '--nodes', '-'],
      `{"kind":"List","items":[${NODE},${NODE}]}`,
      /items\[1\] Node n is there twice/,
    ],
    [
      'no apiVersion',
      ['plan', '-f', '-', '--nodes', 'nodes.json'],
      'kind: Thing\nmetadata: {name: x}\n',
      /Thing x: apiVersion is missing/,
    ],
    ['a flag that is none', ['plan', '--nope'], undefined, /--nope is not a flag \(see --help\)/],
    [
      'a context without a kubeconfig',
      ['plan', '-f', 'shop.yaml', '--context', 'x', '--kubeconfig', 'none'],
      undefined,
      /the kubeconfig cannot be used: .*none/,
    ],
    [
      'a context that is not there',
      ['plan', '-f', 'shop.yaml', '--context', 'x', '--kubeconfig', 'kubeconfig.yaml'],
      undefined,
      /kubeconfig.yaml: there is no context x; there are: nowhere/,
    ],
  ])('%s', async (_what, args, input, wanted) => {
    const { code, stderr } = await plan(args, input);
    expect(stderr).toMatch(wanted);
    expect(stderr).not.toContain('    at ');
    expect(code).toBe(2);
  });

  test('what is wrong hides nothing of what is right', async () => {
    const input = `${POD}---\nkind: [\n---\n${POD.replace('{name: p}', '{name: 3}')}---\n${POD.replace('name: p', 'name: q')}`;
    const { code, stdout, stderr } = await plan(
      ['plan', '-f', '-', '--nodes', 'nodes.json', '-o', 'json'],
      input,
    );
    expect(code).toBe(2);
    const { workloads, problems } = JSON.parse(stdout) as Plan;
    expect(workloads.map(({ name }) => name)).toEqual(['p', 'q']);
    expect(problems).toMatchObject([
      { file: 'standard input', document: 2 },
      { document: 3, line: 10 },
    ]);
    expect(stderr).toContain(
      'standard input, document 3, line 10: metadata.name must be a string, not a number',
    );
  });
});

test('nodes that are missing are told beside what else is wrong', async () => {
  const { code, stderr } = await plan(['plan', '-f', 'typo.yaml']);
  expect(code).toBe(2);
  expect(stderr).toContain('typo.yaml, document 2, line 14');
  expect(stderr).toContain('typo.yaml: there is no Node in it');
});

test('a cluster that does not answer: exit code 1', async () => {
  const { code, stderr } = await plan(['plan', '-f', 'shop.yaml', '--kubeconfig', 'kubeconfig.yaml']);
  expect(stderr).toMatch(/ips plan: the cluster could not be asked: .*ECONNREFUSED/);
  expect(code).toBe(1);
});

test('ips --help lists the commands, ips plan --help has examples', async () => {
  const [all, own] = await Promise.all([ips(['--help']), ips(['plan', '--help'])]);
  expect([all.code, own.code, all.stderr + own.stderr]).toEqual([0, 0, '']);
  for (const command of ['uninstall', 'plan']) expect(all.stdout).toContain(`ips ${command}`);
  expect(own.stdout).toContain('ips plan -f deployment.yaml --nodes nodes.json');
});
