import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { executedImages, kubectl, pushTestImage } from '../cluster/cluster.ts';
import { startKwok } from '../cluster/components.ts';
import { addFakeNodes } from '../cluster/fake-nodes.ts';
import { run } from '../cluster/run.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, deployment, type Kit, PREWARM, unique, WEB_NODES } from './kit.ts';

const WORKER = join(import.meta.dirname, '../../worker');

let kit: Kit;

beforeAll(async () => {
  kit = await createKit('noop');
});

afterAll(async () => {
  await kit?.remove();
});

describe('the no-op', () => {
  let folder: string;
  let noop: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ips-noop-'));
    noop = join(folder, 'noop');
    await copyFile(kit.cluster.binaries.path('noop'), noop);
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  async function start(program: string, args: string[]): Promise<{ code: number | null; said: string }> {
    const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'pipe'] });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, said };
  }

  test('is smaller than 1 MB', async () => {
    expect((await stat(noop)).size).toBeLessThan(1_000_000);
  });

  test('ends with 0 where there is nothing beside it: no loader, no library, no /proc', async () => {
    expect(await start('chroot', [folder, '/noop'])).toEqual({ code: 0, said: '' });
  });

  test('copies itself, for everybody to run, also over a file that is there and runs', async () => {
    const target = join(folder, 'copy');
    await writeFile(target, 'older');
    for (const program of [noop, target]) {
      const umask = process.umask(0o077);
      const { code, said } = await start(program, [target]).finally(() => process.umask(umask));
      expect({ code, said }).toEqual({ code: 0, said: '' });
      expect(await readFile(target)).toEqual(await readFile(noop));
      expect((await stat(target)).mode & 0o777).toBe(0o755);
    }
    expect(await start(target, [])).toEqual({ code: 0, said: '' });
  });

  test('says what it cannot do, and fails', async () => {
    const nowhere = join(folder, 'nowhere/noop');
    const cannot = { code: 1, said: `noop: cannot make ${nowhere}: error 2\n` };
    expect(await start(noop, [nowhere])).toEqual(cannot);
    // Without /proc.
    expect(await start('chroot', [folder, '/noop', '/copy'])).toEqual({
      code: 1,
      said: 'noop: cannot open /proc/self/exe: error 2\n',
    });
    await mkdir(join(folder, 'full'));
    const missing = await start('unshare', ['--mount', 'sh', '-ec', FILL_UP, noop, join(folder, 'full')]);
    expect(missing).toEqual({ code: 1, said: `noop: cannot write ${folder}/full/noop: error 28\n` });
  });
});

/** Builds the no-op's image as worker/README.md says, and pushes it; gives its reference. */
async function buildNoopImage(): Promise<string> {
  const scratch = await mkdtemp(join(tmpdir(), 'ips-noop-image-'));
  const storage = ['--root', join(scratch, 'storage'), '--runroot', join(scratch, 'run')];
  const buildah = (args: string[]) => run('buildah', [...storage, '--storage-driver', 'vfs', ...args]);
  try {
    const context = join(scratch, 'worker');
    await cp(WORKER, context, { recursive: true });
    await run(join(context, 'build.sh'), [
      join(context, 'out', process.arch === 'x64' ? 'amd64' : process.arch),
    ]);
    await buildah(['build', '--isolation', 'chroot', '--tag', 'localhost/noop', context]);
    const name = `${unique('noop')}:1`;
    const target = `docker://${new URL(kit.cluster.registry.url).host}/${name}`;
    await buildah(['push', '--tls-verify=false', 'localhost/noop', target]);
    return `${kit.cluster.registry.host}/${name}`;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Names the image of the no-op in the settings, or else the policies would not have it started. */
async function allow(image: string): Promise<void> {
  const patch = JSON.stringify({ data: { WORKER_IMAGE_LEGACY: image } });
  const settings = ['--namespace', 'ips-system', 'configmap/ips'];
  await kubectl(kit.cluster, ['patch', ...settings, '--type', 'merge', '--patch', patch]);
}

async function withNoop(image: string, work: () => Promise<void>): Promise<void> {
  let ips: Ips | undefined;
  try {
    await allow(image);
    const env = { PULL_STRATEGY: 'injected-noop', WORKER_IMAGE_LEGACY: image };
    ips = await startIps(kit.cluster, { env });
    await work();
  } finally {
    await ips?.stop();
    await allow(`${kit.cluster.registry.host}/noop:1`);
  }
}

/** A file system of one page, which is taken, and the no-op that is to go there. */
const FILL_UP = 'mount -t tmpfs -o size=4k none "$1"; head -c 4096 /dev/zero >"$1/fill"; exec "$0" "$1/noop"';

test('the injected no-op runs in images that could not run by themselves, and starts nothing of those that could', async () => {
  await withNoop(await buildNoopImage(), async () => {
    const push = (name: string, config: object, executable?: 'trace') =>
      pushTestImage(kit.cluster, `${unique(name)}:1`, 100_000, {
        config,
        ...(executable ? { executable } : {}),
      });
    const images = [
      await push('nobody', { User: 'nobody-here', Entrypoint: ['/gone'], Cmd: ['--flag'] }),
      await push('root', { User: '0', Volumes: { '/data': {} }, WorkingDir: '/content/not-a-folder' }),
      await push('runs', { WorkingDir: '/work', Cmd: ['more'] }, 'trace'),
    ];
    const bad = ['one', 'two'].map((name) => `${kit.cluster.registry.host}/${unique(name)}:1`);
    await kit.apply(
      deployment('odd', {
        annotations: PREWARM,
        replicas: 0,
        images: [bad[0] ?? '', ...images, bad[1] ?? ''],
        spec: WEB_NODES,
      }),
    );
    const told = await kit.status('deployment/odd', /^PartiallyFailed 0\/2 nodes/);
    expect(told['ips/message']).toBe(bad.map((image) => `${image}: not found on 2 nodes`).join('; '));
    for (const image of images) expect(await kit.nodesWith(image)).toEqual(['node-a', 'node-b']);
    expect((await executedImages(kit.cluster)).filter((image) => images.includes(image))).toEqual([]);
  });
});

test('an image of the no-op that is not there is named as what is missing', async () => {
  const missing = `${kit.cluster.registry.host}/${unique('no-noop')}:1`;
  await withNoop(missing, async () => {
    const image = await pushTestImage(kit.cluster, `${unique('waits')}:1`, 100_000);
    const annotations = { ...PREWARM, 'ips/retry-limit': '0' };
    await kit.apply(deployment('waits', { annotations, replicas: 0, images: [image], spec: WEB_NODES }));
    const told = await kit.status('deployment/waits', /^Failed 0\/2 nodes/);
    expect(told['ips/message']).toBe(`${missing}: not found on 2 nodes`);
  });
});

test('where some nodes can mount image volumes and others cannot, each Job has nodes of one kind, and all are warmed', async () => {
  const pool = unique('both');
  const ips = await startIps(kit.cluster, { env: { PULL_STRATEGY: 'auto' } });
  const stopKwok = await startKwok(kit.cluster);
  const pods = kit.watch(
    'pods',
    'NODE:.spec.nodeName,JOB:.metadata.ownerReferences[0].name,INIT:.spec.initContainers[*].name',
  );
  try {
    await addFakeNodes(kit.cluster, pool, 6, (index) => (index % 2 === 0 ? 'v1.34.2' : 'v1.36.3'));
    const spec = { nodeSelector: { pool } };
    const images = ['registry.invalid/both:1'];
    await kit.apply(deployment('both', { annotations: PREWARM, replicas: 0, images, spec }));
    await kit.status('deployment/both', /^Warm 6\/6 nodes$/);
    const seen = pods.rows().filter(([node]) => node?.startsWith(pool));
    const strategies = new Map(seen.map(([node, , init]) => [node, init]));
    expect([...strategies].sort()).toEqual(
      [0, 1, 2, 3, 4, 5].map((index) => [`${pool}-${index}`, index % 2 === 0 ? 'noop' : '<none>']),
    );
    const kinds = new Map<string | undefined, Set<string | undefined>>();
    for (const [, job, init] of seen) kinds.set(job, (kinds.get(job) ?? new Set()).add(init));
    expect([...kinds.values()].map((each) => each.size)).toEqual([...kinds].map(() => 1));
  } finally {
    pods.stop();
    await ips.stop();
    await kit.kubectl(['delete', 'nodes', '--selector', `pool=${pool}`, '--wait=false']);
    await stopKwok();
  }
});
