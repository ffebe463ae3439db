import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Cluster } from './cluster.ts';
import { run, startDetached, waitFor } from './run.ts';
import { enter } from './sandbox.ts';

/** A running program of a cluster. */
export type Component = {
  /** SIGSTOP and SIGCONT. */
  freeze(): void;
  thaw(): void;
  /** SIGKILL, and waits for the end; gives what starts it again with the same command line. */
  kill(): Promise<() => void>;
};

/** Finds a program by its name, and by an argument where there are several; only the cluster's own are looked at. */
export function findComponent(cluster: Cluster, program: string, argument = ''): Component {
  const inside = namespaceOf(cluster.sandbox.pid);
  const found = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && namespaceOf(Number(entry)) === inside)
    .map((entry) => ({ pid: Number(entry), command: commandOf(Number(entry)) }))
    .filter(({ command }) => basename(command[0] ?? '') === program)
    .filter(({ command }) => command.some((each) => each.includes(argument)));
  const [only, ...others] = found;
  if (!only || others.length > 0) throw new Error(`${found.length} programs ${program} ${argument}, not one`);
  const { pid, command } = only;
  return {
    freeze: () => process.kill(pid, 'SIGSTOP'),
    thaw() {
      // The nsenter above it stops with it, and would never see it end.
      for (const each of [parentOf(pid), pid]) process.kill(each, 'SIGCONT');
    },
    async kill() {
      process.kill(pid, 'SIGKILL');
      await waitFor(`${program} to end`, async () => commandOf(pid).length === 0, { timeoutMs: 10_000 });
      const [path = '', ...args] = command;
      const log = join(cluster.folder, 'logs', `${program}-again.log`);
      return () => void startDetached(...enter(cluster.sandbox, path, args), log);
    },
  };
}

/**
 * Swallows every packet between the cluster and the host, without a word to either side, until the answer is called.
 * What runs inside the cluster's network goes on among itself.
 */
export async function blackHole(cluster: Cluster): Promise<() => Promise<void>> {
  const nft = (rules: string) =>
    run('nsenter', ['-t', String(cluster.sandbox.pid), '-n', '--', 'nft', '-f', '-'], { input: rules });
  await nft(`
    table inet hole {
      chain in { type filter hook prerouting priority -400; iifname "host0" drop; }
      chain out { type filter hook postrouting priority 400; oifname "host0" drop; }
    }`);
  return async () => void (await nft('delete table inet hole'));
}

/** kubectl from inside the cluster's network, where no black hole is in its way. */
export async function kubectlInside(cluster: Cluster, args: string[], input?: string): Promise<string> {
  const command = ['--kubeconfig', cluster.kubeconfigFile, ...args];
  const [program, all] = enter(cluster.sandbox, cluster.binaries.path('kubectl'), command);
  return run(program, all, input === undefined ? {} : { input });
}

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

function commandOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
  } catch {
    return [];
  }
}
