import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ended, environment, INPUTS, ROOT, start } from './process.ts';

/** The examples of docs/plan.md are what the command prints. `vitest -u` writes them anew. */

const FILE = join(ROOT, 'docs/plan.md');

test('the examples in docs/plan.md are true', async () => {
  let text = await readFile(FILE, 'utf8');
  const examples = [...text.matchAll(/^```\n\$ (ips plan .*)\n([^`]*)```$/gm)];
  expect(examples).toHaveLength(3);
  for (const [block, command = ''] of examples) {
    const env = { PATH: `${join(ROOT, 'bin')}:${environment()['PATH']}` };
    const child = start('sh', ['-c', `${command} 2>&1`], { cwd: INPUTS, env });
    child.stdin.end();
    const { stdout } = await ended(child);
    text = text.replace(block, () => `\`\`\`\n$ ${command}\n${stdout}\`\`\``);
  }
  await expect(text).toMatchFileSnapshot(FILE);
});
