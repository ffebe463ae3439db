import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { nodeLibraries } from '../../scripts/node-libraries.ts';
import type { Cluster } from './cluster.ts';
import { pushImage } from './registry.ts';
import { run } from './run.ts';

const ROOT = join(import.meta.dirname, '../..');
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

/**
 * Builds IPS's image by the Dockerfile and pushes it to the cluster's registry; gives its reference. Base images cannot
 * be had everywhere, so the base is made on the spot: this Node, the libraries it loads, and npm.
 */
export async function pushIpsImage(cluster: Cluster): Promise<string> {
  const scratch = await mkdtemp(join(tmpdir(), 'ips-image-'));
  const storage = ['--root', join(scratch, 'storage'), '--runroot', join(scratch, 'run')];
  // vfs and chroot need no more of this machine than a root user.
  const buildah = (args: string[]) => run('buildah', [...storage, '--storage-driver', 'vfs', ...args]);
  try {
    await makeBase(buildah, join(scratch, 'base'));
    const build = [
      'build',
      '--isolation',
      'chroot',
      '--build-arg',
      'BASE=localhost/base',
      '--tag',
      'localhost/ips',
    ];
    await buildah([...build, ROOT]);
    const name = 'image-prewarm-service:test';
    const target = `docker://${new URL(cluster.registry.url).host}/${name}`;
    await buildah(['push', '--tls-verify=false', 'localhost/ips', target]);
    return `${cluster.registry.host}/${name}`;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Redis as Debian has it; beside the server and its client the image has the libraries that they load, and no shell. */
export async function pushRedisImage(cluster: Cluster): Promise<string> {
  const programs = [
    // In redis-tools the server has the name under which it checks a file instead.
    { path: 'usr/bin/redis-server', from: '/usr/bin/redis-check-rdb' },
    { path: 'usr/bin/redis-cli', from: '/usr/bin/redis-cli' },
  ];
  const listed = await run(
    'ldd',
    programs.map(({ from }) => from),
  );
  const libraries = new Set(listed.match(/\/\S+(?= \(0x)/g));
  const files = [...programs, ...[...libraries].map((from) => ({ path: from.slice(1), from }))];
  const config = { Env: ['PATH=/usr/bin'] };
  return pushImage(cluster.registry, { name: 'redis:test', size: 0, files, config }, '');
}

async function makeBase(buildah: (args: string[]) => Promise<string>, root: string): Promise<void> {
  const add = async (from: string, to: string) => {
    await mkdir(dirname(join(root, to)), { recursive: true });
    await cp(from, join(root, to), { recursive: true, dereference: true });
  };
  for (const file of nodeLibraries()) await add(file, file);
  await add(process.execPath, 'usr/local/bin/node');
  // Not this machine's npm: distributions spread its parts over many folders.
  await run('npm', [
    'install',
    '--global',
    '--prefix',
    join(root, 'usr/local'),
    '--ignore-scripts',
    'npm@11.19.1',
  ]);
  // What this machine trusts beside Node's own roots, where a proxy stands before the registry.
  if (existsSync(CERTIFICATES)) await add(CERTIFICATES, CERTIFICATES);
  const registry = (await run('npm', ['config', 'get', 'registry'])).trim();
  await mkdir(join(root, 'tmp'));
  const container = (await buildah(['from', 'scratch'])).trim();
  await buildah(['add', container, root, '/']);
  const env = [
    'PATH=/usr/local/bin',
    'HOME=/tmp',
    `npm_config_registry=${registry}`,
    `NODE_EXTRA_CA_CERTS=${CERTIFICATES}`,
  ];
  await buildah(['config', ...env.flatMap((each) => ['--env', each]), container]);
  await buildah(['commit', container, 'localhost/base']);
}
