import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { run } from '../../test/cluster/run.ts';

export const PEER = join(import.meta.dirname, '../peers/match');

export type Question = { nodes: number; pods: number[]; repeat: number };
export type Answer = { nanoseconds: number; count: number; hash: string };
export type Peer = { ask(question: Question): Promise<Answer>; stop(): Promise<void> };

/** Builds and starts the program on the scheduler's own library; it waits for questions about what is in the folder. */
export async function startPeer(folder: string): Promise<Peer> {
  const program = join(folder, 'peer');
  await run('go', ['build', '-C', PEER, '-o', program, '.'], { timeoutMs: 900_000 });
  const child: ChildProcess = spawn(program, [folder], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  if (!child.stdin || !child.stdout) throw new Error('the peer has no pipes');
  const { stdin } = child;
  const lines: Interface = createInterface({ input: child.stdout });
  const answers = lines[Symbol.asyncIterator]();
  return {
    async ask(question) {
      stdin.write(`${JSON.stringify(question)}\n`);
      const { value, done } = await answers.next();
      if (done) throw new Error('the program on the scheduler’s library ended');
      return JSON.parse(value) as Answer;
    },
    async stop() {
      stdin.end();
      await ended;
    },
  };
}
