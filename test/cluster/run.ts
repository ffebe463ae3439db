import { execFile, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const execute = promisify(execFile);

export type RunOptions = { cwd?: string; env?: NodeJS.ProcessEnv; input?: string; timeoutMs?: number };

/** Runs a program to its end and gives its standard output; an error carries what it printed. */
export async function run(program: string, args: string[], options: RunOptions = {}): Promise<string> {
  return (await runBoth(program, args, options)).stdout;
}

/** As `run`, with the standard error too, where some programs print their warnings. */
export async function runBoth(
  program: string,
  args: string[],
  options: RunOptions = {},
): Promise<{ stdout: string; stderr: string }> {
  const child = execute(program, args, {
    cwd: options.cwd,
    env: options.env,
    timeout: options.timeoutMs ?? 120_000,
    maxBuffer: 256 << 20,
  });
  if (options.input !== undefined) child.child.stdin?.end(options.input);
  return child;
}

/** Starts a program that outlives this process, its output in a file, and gives its process id. */
export function startDetached(
  program: string,
  args: string[],
  logFile: string,
  env: NodeJS.ProcessEnv = process.env,
): number {
  const log = openSync(logFile, 'a');
  const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log], env });
  child.on('error', () => {}); // told below: without a process id the start failed
  child.unref();
  if (child.pid === undefined) throw new Error(`${program} could not be started`);
  return child.pid;
}

/** Asks until the answer is neither undefined, null nor false; after `timeoutMs` an error says what was waited for. */
export async function waitFor<T>(
  what: string,
  ask: () => Promise<T | undefined | null | false>,
  options: { timeoutMs?: number; everyMs?: number } = {},
): Promise<T> {
  const { timeoutMs = 120_000, everyMs = 100 } = options;
  const end = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== null && answer !== false) return answer;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      const why = last instanceof Error ? `; last error: ${last.message}` : '';
      throw new Error(`waited ${Math.round(timeoutMs / 1000)} s for ${what}${why}`);
    }
    await sleep(everyMs);
  }
}
