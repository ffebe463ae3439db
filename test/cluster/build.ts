import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { cacheDirectory } from './cache.ts';
import { run } from './run.ts';

const SOURCES = join(import.meta.dirname, 'go');
const WORKER = join(import.meta.dirname, '../../worker');
const KUBERNETES_VERSION = 'v1.36.3';

export type Build = {
  /** The name of the folder whose go.mod pins every version; its content is the key of the cache. */
  module: string;
  /** What the user is told is being built. */
  title: string;
  packages: string[];
  flags: string[];
  /** Names under which one multi-call binary is started. */
  links?: { binary: string; names: string[] };
  /** Files taken from a module in the Go module cache, beside the binaries. */
  copy?: { module: string; folders: string[]; to: string };
};

const VERSION = 'k8s.io/component-base/version';

const BUILDS: Build[] = [
  {
    module: 'testimage',
    title: 'the pause and trace binary',
    packages: ['.'],
    flags: ['-ldflags=-s -w'],
    links: { binary: 'testimage', names: ['collect'] },
  },
  {
    module: 'containerd',
    title: 'containerd 2.4.2',
    packages: ['containerd', 'containerd-shim-runc-v2', 'ctr'].map(
      (name) => `github.com/containerd/containerd/v2/cmd/${name}`,
    ),
    flags: ['-tags=no_btrfs no_devmapper no_zfs', '-ldflags=-s -w'],
  },
  {
    module: 'kwok',
    title: 'kwok 0.8.0',
    packages: ['sigs.k8s.io/kwok/cmd/kwok'],
    flags: ['-ldflags=-s -w'],
    copy: {
      module: 'sigs.k8s.io/kwok',
      folders: [
        'kustomize/stage/node/fast',
        'kustomize/stage/node/heartbeat-with-lease',
        'kustomize/stage/pod/fast',
      ],
      to: 'stages',
    },
  },
  {
    module: 'controlplane',
    title: `etcd, kubectl and Kubernetes ${KUBERNETES_VERSION}`,
    packages: ['.'],
    flags: [
      `-ldflags=-s -w -X ${VERSION}.gitVersion=${KUBERNETES_VERSION} -X ${VERSION}.gitMajor=1 -X ${VERSION}.gitMinor=36`,
    ],
    links: {
      binary: 'controlplane',
      names: [
        'etcd',
        'kube-apiserver',
        'kube-controller-manager',
        'kube-scheduler',
        'kube-proxy',
        'kubelet',
        'kubectl',
      ],
    },
  },
];

export type Binaries = {
  /** The path of a program; a control-plane binary in KUBEBUILDER_ASSETS goes before the built one. */
  path(name: string): string;
  /** The folders of the built programs, for PATH. */
  folders: string[];
  /** kwok's stages. */
  stages: string;
};

/** Builds what is not in the cache yet and tells where everything is. The first time takes minutes. */
export async function buildBinaries(say: (line: string) => void): Promise<Binaries> {
  const folders = [await cached('noop', WORKER, '', (target) => run(join(WORKER, 'build.sh'), [target]))];
  for (const build of BUILDS) folders.push(await buildModule(build, join(SOURCES, build.module), say));
  const assets = process.env['KUBEBUILDER_ASSETS'];
  const search = assets ? [assets, ...folders] : folders;
  const path = (name: string): string => {
    const folder = search.find((candidate) => existsSync(join(candidate, name)));
    if (!folder)
      throw new Error(
        `${name} is neither in KUBEBUILDER_ASSETS nor among the built programs (${search.join(', ')})`,
      );
    return join(folder, name);
  };
  const stages = folders.map((folder) => join(folder, 'stages')).find((folder) => existsSync(folder));
  if (!stages) throw new Error('the kwok build has no stages; remove the cache and try again');
  return { path, folders, stages };
}

/** The folder of the programs of one Go module, which is built where it is not in the cache yet. */
export function buildModule(build: Build, source: string, say: (line: string) => void): Promise<string> {
  const make = (target: string) => goBuild(build, source, target, say);
  return cached(build.module, source, JSON.stringify(build), make);
}

/** The folder that `make` filled from a folder of sources; the content of those and the options are its key. */
async function cached(
  name: string,
  source: string,
  options: string,
  make: (target: string) => Promise<unknown>,
): Promise<string> {
  const target = join(cacheDirectory(), 'build', `${name}-${await keyOf(options, source)}`);
  if (existsSync(target)) return target;

  const parent = join(cacheDirectory(), 'build');
  await mkdir(parent, { recursive: true });
  const scratch = await mkdtemp(join(parent, '.building-'));
  try {
    await make(scratch);
    await rename(scratch, target).catch((error: unknown) => {
      // Another run built the same at the same time: its result is as good.
      if (!existsSync(target)) throw error;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return target;
}

async function goBuild(
  build: Build,
  source: string,
  target: string,
  say: (line: string) => void,
): Promise<void> {
  await compile(build, source, target, say);
  if (build.links)
    for (const name of build.links.names) await symlink(build.links.binary, join(target, name));
  if (build.copy) await copyModuleFolders(build.copy, source, join(target, build.copy.to));
}

async function keyOf(options: string, source: string): Promise<string> {
  const hash = createHash('sha256').update(options).update(process.arch);
  const entries = await readdir(source, { withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  for (const name of files.sort()) hash.update(name).update(await readFile(join(source, name)));
  return hash.digest('hex').slice(0, 16);
}

async function compile(
  build: Build,
  source: string,
  target: string,
  say: (line: string) => void,
): Promise<void> {
  const started = Date.now();
  say(`building ${build.title} (first time only; kept in ${cacheDirectory()})`);
  const environment = { ...process.env, CGO_ENABLED: '0' };
  const go = spawn(
    'go',
    ['build', '-v', '-trimpath', ...build.flags, '-o', `${target}/`, ...build.packages],
    {
      cwd: source,
      env: environment,
      stdio: ['ignore', 'inherit', 'pipe'],
    },
  );
  let packages = 0;
  const tail: string[] = [];
  createInterface({ input: go.stderr }).on('line', (line) => {
    packages += 1;
    tail.push(line);
    if (tail.length > 30) tail.shift();
  });
  const seconds = () => Math.round((Date.now() - started) / 1000);
  const progress = setInterval(
    () => say(`  ${build.module}: ${seconds()} s, ${packages} packages fetched or compiled`),
    10_000,
  );
  try {
    const [code] = (await once(go, 'close')) as [number | null];
    if (code !== 0) throw new Error(`go build of ${build.module} failed:\n${tail.join('\n')}`);
  } finally {
    clearInterval(progress);
  }
  say(`  ${build.module}: built in ${seconds()} s`);
}

async function copyModuleFolders(
  copy: NonNullable<Build['copy']>,
  source: string,
  target: string,
): Promise<void> {
  const directory = (await run('go', ['list', '-m', '-f', '{{.Dir}}', copy.module], { cwd: source })).trim();
  await mkdir(target);
  for (const [index, folder] of copy.folders.entries()) {
    for (const name of (await readdir(join(directory, folder))).sort()) {
      if (name === 'kustomization.yaml' || !name.endsWith('.yaml')) continue;
      await writeFile(join(target, `${index}-${name}`), await readFile(join(directory, folder, name)));
    }
  }
}
