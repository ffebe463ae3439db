import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type BuildOptions, build, type Plugin } from 'esbuild';

const READS = /readFileSync\(new URL\('([^']+\.lua)', import\.meta\.url\), 'utf8'\)/g;

/** Lua scripts stand in files of their own, which a bundle does not have beside it. */
const luaInPlace: Plugin = {
  name: 'lua-in-place',
  setup({ onLoad }) {
    onLoad({ filter: /coordination[/\\]scripts\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const names = [...source.matchAll(READS)].map(([, name = '']) => name);
      if (names.length === 0) throw new Error(`${path} reads no script in the way that can be bundled`);
      const texts = await Promise.all(names.map((name) => readFile(join(dirname(path), name), 'utf8')));
      return { contents: source.replace(READS, () => JSON.stringify(texts.shift())), loader: 'ts' };
    });
  },
};

const CLIENT = '@kubernetes/client-node';
const ASKED = 'asked already';

/**
 * Of the client, what nobody uses is left out: some 600 kB of models above all. Its package.json does not say that this
 * may be done; what its modules do when they are loaded is to give Node 18 the `File` that it lacks.
 */
const clientInUse: Plugin = {
  name: 'client-in-use',
  setup({ onResolve, resolve }) {
    onResolve({ filter: /^@kubernetes\/client-node$|^\./ }, async ({ path, pluginData, ...from }) => {
      if (pluginData === ASKED || !(path === CLIENT || from.resolveDir.includes(CLIENT))) return undefined;
      return { ...(await resolve(path, { ...from, pluginData: ASKED })), sideEffects: false };
    });
  },
};

const OPTIONS: BuildOptions = {
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  // Names stay, so that a stack trace can be read.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [luaInPlace, clientInUse],
  // What is bundled from CommonJS still calls require for Node's own modules.
  banner: {
    js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
  },
};

/**
 * IPS as it is in the image, or a part of it: a file that is started, and in a folder of its name beside it what that loads.
 *
 * In several files, since a module that one file holds for a command that may never be given (`import()`) is kept there
 * whole, and loaded from then on.
 */
export async function bundleIps(outfile: string, entryPoint = 'src/main.ts'): Promise<void> {
  const name = basename(outfile, '.mjs');
  const parts = { splitting: true, chunkNames: `${name}/[name]-[hash]`, outExtension: { '.js': '.mjs' } };
  await build({ ...OPTIONS, ...parts, entryPoints: { [name]: entryPoint }, outdir: dirname(outfile) });
}
