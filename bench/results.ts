import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join, relative } from 'node:path';
import { run } from '../test/cluster/run.ts';

/** What every benchmark does with what it measured: keeps it as data, and writes it into a page. */

const RESULTS = join(import.meta.dirname, 'results');

export type Measurement = {
  /** That makes the same again. */
  command: string;
  versions: Record<string, string | undefined>;
  /** Beside what the machine is: how it was used. */
  machine?: object;
  /** What was measured, and on what. */
  data: object;
};

/** Writes `bench/results/NAME-DATE.json`, and returns its path from the current folder. */
export async function keepResults(
  name: string,
  { command, versions, machine = {}, data }: Measurement,
): Promise<string> {
  const date = new Date().toISOString();
  const kept = {
    ...{ command, date },
    commit: await firstLineOf('git', ['describe', '--always', '--dirty']),
    versions: { node: process.version, ...versions },
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cpus: cpus().length,
      memoryGB: Math.round(totalmem() / 1e9),
      ...machine,
    },
    ...data,
  };
  await mkdir(RESULTS, { recursive: true });
  const file = join(RESULTS, `${name}-${date.slice(0, 19).replace(/[T:]/g, '-')}.json`);
  await writeFile(file, `${JSON.stringify(kept, undefined, 2)}\n`);
  return relative(process.cwd(), file);
}

/** What a program says of itself first; `unknown` where it cannot be asked. */
export async function firstLineOf(program: string, args: string[]): Promise<string | undefined> {
  return (await run(program, args).catch(() => 'unknown')).split('\n')[0];
}

/** The version of a Go module that a peer is built with. */
export async function goModuleVersion(folder: string, module: string): Promise<string | undefined> {
  return (await firstLineOf('go', ['list', '-C', folder, '-m', module]))?.split(' ')[1];
}

/** Puts the text between the two marks of that name on a page, and leaves the rest of it as it is. */
export async function writeSection(page: string, name: string, text: string): Promise<void> {
  const [first, last] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const before = await readFile(page, 'utf8');
  const begin = before.indexOf(first);
  const end = before.indexOf(last);
  if (begin < 0 || end < begin) throw new Error(`${page} has no ${first} and ${last}`);
  await writeFile(page, `${before.slice(0, begin)}${first}\n\n${text}\n\n${before.slice(end)}`);
}
