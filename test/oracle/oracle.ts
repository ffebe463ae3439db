import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildModule } from '../cluster/build.ts';
import type { NodeCase } from './node-cases.ts';

/** What refuses a node, by predicate, with what it names; nothing where the node fits. */
export type Refusals = Record<string, string[]>;

export type Oracle = {
  refusals(question: NodeCase): Promise<Refusals>;
  /** The canonical form of an image reference; undefined where it is none. */
  canonical(image: string): Promise<string | undefined>;
  end(): Promise<void>;
};

type Answer = { refusedBy?: Refusals; canonical?: string };

const BUILD = {
  module: 'oracle',
  title: "the scheduler's library",
  packages: ['.'],
  flags: ['-ldflags=-s -w'],
};

/** Starts the program that asks Kubernetes' own libraries; it is built first where that has not been done. */
export async function startOracle(): Promise<Oracle> {
  const folder = await buildModule(BUILD, join(import.meta.dirname, 'go'), (line) => console.log(line));
  const child = spawn(join(folder, 'oracle'), { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  const waiting: PromiseWithResolvers<Answer>[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    waiting.shift()?.resolve(JSON.parse(line) as Answer);
  });
  child.on('close', () => {
    for (const each of waiting) each.reject(new Error('the oracle ended before it answered; see above'));
  });
  child.stdin.on('error', () => {}); // told by the end of the program

  function ask(question: NodeCase | { image: string }): Promise<Answer> {
    const answer = Promise.withResolvers<Answer>();
    waiting.push(answer);
    child.stdin.write(`${JSON.stringify(question)}\n`);
    return answer.promise;
  }

  return {
    refusals: async (question) => (await ask(question)).refusedBy ?? {},
    canonical: async (image) => (await ask({ image })).canonical,
    end: async () => {
      child.stdin.end();
      await ended;
    },
  };
}
