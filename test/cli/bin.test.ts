import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../cluster/run.ts';
import { ended, INPUTS, IPS, ips, ROOT, start } from './process.ts';

/** bin/ips in a checkout, and the bundle of the image. */

const ARGS = ['plan', '-f', join(INPUTS, 'shop.yaml'), '--nodes', join(INPUTS, 'nodes.json')];
let folder = '';
let expected = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ips-bin-'));
  expected = (await ips(ARGS)).stdout;
  expect(expected).toContain('Deployment shop/web');
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test('runs from any folder, through symbolic links, and by PATH', async () => {
  const odd = join(folder, 'a folder');
  await mkdir(odd);
  await symlink(IPS, join(folder, 'once'));
  await symlink('../once', join(odd, 'ips'));
  const found = start('sh', ['-c', 'PATH="$1:$PATH"; shift; exec ips "$@"', 'sh', odd, ...ARGS], {
    cwd: odd,
  });
  found.stdin.end();
  expect(await ended(found)).toMatchObject({ code: 0, stdout: expected });
});

test('says so where the checkout was not set up', async () => {
  const checkout = join(folder, 'checkout');
  for (const part of ['bin', 'scripts', 'src', 'package.json'])
    await cp(join(ROOT, part), join(checkout, part), { recursive: true });
  const child = start(join(checkout, 'bin/ips'), ['--help']);
  child.stdin.end();
  expect(await ended(child)).toMatchObject({
    code: 1,
    stderr: `ips: not set up yet; run this first: make -C '${checkout}' setup\n`,
  });
});

test('plans without the client of Kubernetes, the server, or the logger', async () => {
  const hook = join(folder, 'hook.mjs');
  await writeFile(
    hook,
    `import { registerHooks } from 'node:module';
     registerHooks({ resolve(name, context, next) {
       if (/^(@kubernetes|fastify|pino|undici|prom-client)/.test(name)) throw new Error('loaded ' + name);
       return next(name, context);
     } });`,
  );
  const env = { NODE_OPTIONS: `--import ${hook}` };
  expect(await ips(ARGS, { env })).toMatchObject({ code: 0, stdout: expected });
  // The hook works: asking a cluster needs them.
  const asked = await ips([...ARGS.slice(0, 3), '--kubeconfig', 'none'], { env });
  expect(asked).toMatchObject({ code: 1, stderr: expect.stringContaining('loaded ') });
});

test('the bundle of the image has the command too', async () => {
  const image = join(folder, 'image');
  await run(process.execPath, [join(ROOT, 'scripts/bundle.ts'), image], { cwd: ROOT });
  const asYaml = [...ARGS, '-o', 'yaml'];
  const cases = [
    { args: ARGS, stdout: expected },
    { args: asYaml, stdout: (await ips(asYaml)).stdout },
  ];
  for (const { args, stdout } of cases) {
    const bundled = start(process.execPath, [join(image, 'ips.mjs'), ...args], { env: { PATH: '' } });
    bundled.stdin.end();
    expect(await ended(bundled)).toMatchObject({ code: 0, stdout });
  }
});
