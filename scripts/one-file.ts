import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type BuildOptions, build, type Plugin } from 'esbuild';

const READS = /readFileSync\(new URL\('([^']+\.lua)', import\.meta\.url\), 'utf8'\)/g;

/** Lua scripts stand in files of their own, which the one file does not have beside it. */
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
  plugins: [luaInPlace],
  // What is bundled from CommonJS still calls require for Node's own modules.
  banner: {
    js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
  },
};

/** IPS as one file, as it is in the image; or a part of it. */
export async function bundleIps(outfile: string, entryPoint = 'src/main.ts'): Promise<void> {
  await build({ ...OPTIONS, entryPoints: [entryPoint], outfile });
}
