import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The flags of Node and the environment that the image has. */
export async function asShipped(): Promise<{ flags: string[]; env: Record<string, string> }> {
  const text = await readFile(join(import.meta.dirname, '../Dockerfile'), 'utf8');
  const command = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(text)?.[1] ?? '[]') as string[];
  const env = /^ENV (.*)$/m.exec(text)?.[1] ?? '';
  return {
    flags: command.slice(1, -1),
    env: Object.fromEntries(env.split(' ').map((each) => each.split('=') as [string, string])),
  };
}
