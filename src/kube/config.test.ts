import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { loadKubeConfig } from './config.ts';

it('a kubeconfig that cannot be read, or names no cluster, is told with the setting', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ips-kubeconfig-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'config');
  expect(() => loadKubeConfig(file)).toThrow(/^KUBECONFIG \(--kubeconfig\) cannot be read: ENOENT/);
  await writeFile(file, 'apiVersion: v1\nkind: Config\n');
  expect(() => loadKubeConfig(file)).toThrow('has no current context with a cluster');
});
