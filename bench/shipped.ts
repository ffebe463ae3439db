import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

/**
 * The flags of Node and the environment that the image has, and the most memory that Node takes in the Deployment: by
 * half of its container's limit Node decides how large the old generation may get, and thereby when it collects garbage.
 */
export async function asShipped(): Promise<{ flags: string[]; env: Record<string, string> }> {
  const text = await readFile(join(ROOT, 'Dockerfile'), 'utf8');
  const command = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(text)?.[1] ?? '[]') as string[];
  const env = /^ENV (.*)$/m.exec(text)?.[1] ?? '';
  const deployment = await readFile(join(ROOT, 'deploy/base/deployment.yaml'), 'utf8');
  const [, limitMB] = /limits: \{ memory: (\d+)Mi \}/.exec(deployment) ?? [];
  if (!limitMB) throw new Error('deploy/base/deployment.yaml names no limit of memory in MiB');
  return {
    flags: [...command.slice(1, -1), `--max-old-space-size=${Number(limitMB) / 2}`],
    env: Object.fromEntries(env.split(' ').map((each) => each.split('=') as [string, string])),
  };
}
