import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Cluster,
  kubectl,
  listClusters,
  openCluster,
  startCluster,
  stopCluster,
} from '../cluster/cluster.ts';
import { run, waitFor } from '../cluster/run.ts';
import { testCluster, unique } from './kit.ts';

/** The cluster of these tests themselves: what everything else here stands on. */
let first: Cluster;
let second: Cluster | undefined;

beforeAll(async () => {
  first = await testCluster();
});

afterAll(async () => {
  if (second) await stopCluster(second);
});

async function traces(cluster: Cluster): Promise<string[]> {
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(cluster.folder));
  const links = (await run('ip', ['-o', 'link'])).split('\n');
  const device = `ips${cluster.sandbox.hostAddress.split('.')[2]}@`;
  const processes = readdirSync('/proc').filter(
    (pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid && mentions(pid, cluster.folder),
  );
  const cgroups = readdirSync('/sys/fs/cgroup').filter((name) => {
    try {
      return readdirSync(join('/sys/fs/cgroup', name)).includes(cluster.cgroup) || name === cluster.cgroup;
    } catch {
      return false;
    }
  });
  return [
    ...mounts.map((mount) => `mount ${mount}`),
    ...links.filter((line) => line.includes(device)).map((line) => `device ${line}`),
    ...processes.map((pid) => `process ${pid}`),
    ...cgroups.map((name) => `control group in ${name}`),
  ];
}

function mentions(pid: string, text: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
  } catch {
    return false;
  }
}

test('two clusters run at once and do not see each other', async () => {
  second = await startCluster({ name: unique('second'), lifeline: true, say: () => {} });
  const name = unique('only-here');
  await kubectl(second, ['create', 'namespace', name]);
  const namespaces = await kubectl(first, ['get', 'namespaces', '-o', 'name']);
  expect(namespaces).not.toContain(name);
  expect(second.server).not.toBe(first.server);
  expect(
    (await listClusters()).filter((cluster) => cluster.running).map((cluster) => cluster.folder),
  ).toEqual(expect.arrayContaining([first.folder, second.folder]));
});

test('an ended cluster leaves no process, mount, network device, control group or file', async () => {
  if (!second) throw new Error('the second cluster did not start');
  const ended = second;
  expect((await traces(ended)).length).toBeGreaterThan(10);
  await stopCluster(ended);
  second = undefined;
  expect(await traces(ended)).toEqual([]);
  await expect(readdir(ended.folder)).rejects.toThrow('ENOENT');
});

test('a cluster ends with the process that started it, and cluster-down clears away what a crash leaves', async () => {
  const name = unique('crash');
  const script = `
    const { startCluster } = await import(${JSON.stringify(join(import.meta.dirname, '../cluster/cluster.ts'))});
    await startCluster({ name: ${JSON.stringify(name)}, lifeline: true, say: () => {} });
    console.log('up');
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await Promise.race([once(owner.stdout, 'data'), once(owner, 'exit')]);
  const folder = (await listClusters()).find((cluster) => cluster.name === name)?.folder ?? '';
  const crashed = await openCluster(folder, () => {});
  if (!crashed) throw new Error('the cluster did not start');
  owner.kill('SIGKILL');
  await waitFor(
    'the processes of the cluster to end',
    async () => !(await listClusters()).find((each) => each.name === name)?.running,
    {
      timeoutMs: 20_000,
    },
  );
  await run(process.execPath, [join(import.meta.dirname, '../cluster/cli.ts'), 'down', name]);
  expect(await traces(crashed)).toEqual([]);
  expect((await listClusters()).map((cluster) => cluster.name)).not.toContain(name);
});

test('control-plane binaries in KUBEBUILDER_ASSETS go before the built ones', async () => {
  const assets = await mkdtemp(join(tmpdir(), 'ips-assets-'));
  try {
    await symlink(first.binaries.path('kube-apiserver'), join(assets, 'kube-apiserver'));
    const cluster = join(import.meta.dirname, '../cluster/build.ts');
    const script = `
      const { buildBinaries } = await import(${JSON.stringify(cluster)});
      const binaries = await buildBinaries(() => {});
      console.log(binaries.path('kube-apiserver') + ' ' + binaries.path('etcd'));`;
    const printed = await run(process.execPath, ['--input-type=module', '--eval', script], {
      env: { ...process.env, KUBEBUILDER_ASSETS: assets },
    });
    expect(printed.trim()).toBe(`${join(assets, 'kube-apiserver')} ${first.binaries.path('etcd')}`);
  } finally {
    await rm(assets, { recursive: true });
  }
});

test('a KUBECONFIG in the shell is not used, and one that is passed must be of a cluster of ours', async () => {
  const makefile = join(import.meta.dirname, '../..');
  const told = await run('make', ['--no-print-directory', '-C', makefile, '-pn', 'help'], {
    env: { ...process.env, KUBECONFIG: '/nowhere/production' },
  });
  expect(told).not.toMatch(/IPS_TEST_KUBECONFIG := \/nowhere/);
  const given = join(import.meta.dirname, '../cluster/given.ts');
  const script = `
    const { givenCluster } = await import(${JSON.stringify(given)});
    console.log(await givenCluster(() => {}).then((cluster) => cluster?.folder, (error) => error.message));`;
  const ask = (file: string) =>
    run(process.execPath, ['--input-type=module', '--eval', script], {
      env: { ...process.env, IPS_TEST_KUBECONFIG: file },
    });
  expect((await ask(first.kubeconfigFile)).trim()).toBe(first.folder);
  expect(await ask('/etc/hostname')).toContain('is not that of a running cluster from "make cluster-up"');
});
