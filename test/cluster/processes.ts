import { readdirSync, readFileSync } from 'node:fs';
import type { Cluster } from './cluster.ts';

/** The first processes of containers in this cluster's pods, whose command line has the text in it. */
export function podProcesses({ sandbox }: Cluster, text: string): { pid: string; command: string }[] {
  return readdirSync('/proc').flatMap((pid) => {
    const command = /^\d+$/.test(pid) ? readProc(pid, 'cmdline') : '';
    // containerd's shim, which is above them, is a child of the sandbox's first process.
    const isOurs = command.includes(text) && parentOf(parentOf(pid)) === String(sandbox.pid);
    return isOurs ? [{ pid, command }] : [];
  });
}

function parentOf(pid: string): string {
  return /^PPid:\s*(\d+)$/m.exec(readProc(pid, 'status'))?.[1] ?? '';
}

/** Empty where the process has gone. */
export function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
