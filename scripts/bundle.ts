import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { bundleIps } from './esbuild.ts';
import { nodeLibraries } from './node-libraries.ts';

/**
 * Makes the root file system of the image in the folder that is named: IPS, bundled, the Node binary that runs this,
 * and the libraries which that has loaded.
 */

const [root] = process.argv.slice(2);
if (!root) throw new Error('usage: node scripts/bundle.ts FOLDER');

await bundleIps(join(root, 'ips.mjs'));

for (const file of nodeLibraries()) copy(file, join(root, file));
copy(process.execPath, join(root, 'usr/local/bin/node'));
mkdirSync(join(root, 'etc'), { recursive: true });
writeFileSync(join(root, 'etc/passwd'), 'ips:x:65532:65532::/:/\n');

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}
