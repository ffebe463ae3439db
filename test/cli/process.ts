import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');
export const IPS = join(ROOT, 'bin/ips');
export const INPUTS = join(import.meta.dirname, 'inputs');

export type Ended = { code: number | null; signal: string | null; stdout: string; stderr: string };
export type RunOptions = { input?: string; cwd?: string; env?: NodeJS.ProcessEnv };

/** Without what the shell that runs the tests may have set. */
export function environment(): NodeJS.ProcessEnv {
  const { PATH, HOME, IPS_CACHE_DIR, XDG_CACHE_HOME } = process.env;
  return { PATH, HOME, IPS_CACHE_DIR, XDG_CACHE_HOME };
}

export function start(
  command: string,
  args: string[],
  options: RunOptions = {},
): ChildProcessWithoutNullStreams {
  const env = { ...environment(), ...options.env };
  const child = spawn(command, args, { env, cwd: options.cwd ?? '/' });
  // It may end before it has read everything.
  child.stdin.on('error', () => {});
  return child;
}

export async function ended(child: ChildProcessWithoutNullStreams): Promise<Ended> {
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8');
    child[name].on('data', (text: string) => {
      texts[name] += text;
    });
  }
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, ...texts };
}

/** Runs bin/ips to its end. */
export async function ips(args: string[], options: RunOptions = {}): Promise<Ended> {
  const child = start(IPS, args, options);
  child.stdin.end(options.input ?? '');
  return ended(child);
}

/** The answers of `ips plan --stream`, which has to end well. */
export async function answers(
  input: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await ips(['plan', '--stream'], { input, env });
  if (code !== 0 || stderr !== '') throw new Error(`exit code ${code}: ${stderr}`);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
