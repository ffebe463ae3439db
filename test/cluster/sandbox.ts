import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run, startDetached, waitFor } from './run.ts';

/**
 * A cluster lives in process, mount and network namespaces of its own. When the first process of a process
 * namespace dies, the kernel ends all others in it; then the mounts and the network devices of the other two go.
 * So one kill cleans up completely, also after a crash, and two clusters never meet: each has its own loopback,
 * ports, nftables rules and pod network.
 */
export type Sandbox = {
  /** Process id of the namespaces' first process, as the host sees it, and when it was started (against reuse). */
  pid: number;
  startTime: string;
  /** The cluster's end of the pair of network devices, and the host's. */
  address: string;
  hostAddress: string;
  /** The index of the host's device, against reuse of its name. */
  link: string;
};

type Joint = Pick<Sandbox, 'address' | 'hostAddress' | 'link'>;

const INIT = join(import.meta.dirname, 'sandbox-init.sh');

/**
 * Makes the namespaces. With `lifeline` they end with this process (their first process reads a pipe from it);
 * without, they stay until `destroySandbox`.
 */
export async function createSandbox(folder: string, options: { lifeline: boolean }): Promise<Sandbox> {
  const flags = ['--fork', '--kill-child', '--pid', '--mount', '--net', '--mount-proc'];
  const args = [...flags, '--', 'bash', INIT, folder, options.lifeline ? 'lifeline' : 'stay'];
  const log = join(folder, 'logs', 'sandbox.log');
  let outer: number | undefined;
  if (options.lifeline) {
    // A process group of its own, so that an interrupt at the terminal lets the owner stop it in order.
    const child = spawn('unshare', args, { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    child.unref();
    outer = child.pid;
  } else {
    outer = startDetached('unshare', args, log);
  }
  if (outer === undefined) throw new Error('unshare could not be started; is util-linux installed?');
  const pid = await waitFor(
    'the namespaces of the cluster',
    async () => existsSync(join(folder, 'ready')) && childOf(outer),
    {
      timeoutMs: 10_000,
      everyMs: 20,
    },
  );
  const startTime = startTimeOf(pid);
  if (!startTime) throw new Error(`the first process of the cluster's namespaces ended at once; see ${log}`);
  return { pid, startTime, ...(await connect(pid)) };
}

/** Joins host and cluster by a pair of devices on the first free 10.87.N.0/30; making the device is the lock. */
async function connect(pid: number): Promise<Joint> {
  for (let index = 1; index < 255; index += 1) {
    const device = `ips${index}`;
    const pair = ['link', 'add', device, 'type', 'veth', 'peer', 'name', 'host0', 'netns', String(pid)];
    try {
      await run('ip', pair);
    } catch (error) {
      if (String(error).includes('File exists')) continue;
      throw error;
    }
    const address = `10.87.${index}.2`;
    const hostAddress = `10.87.${index}.1`;
    await run('ip', ['address', 'add', `${hostAddress}/30`, 'dev', device]);
    await run('ip', ['link', 'set', device, 'up']);
    const inside = (args: string[]) => run('nsenter', ['-t', String(pid), '-n', '--', 'ip', ...args]);
    await inside(['address', 'add', `${address}/30`, 'dev', 'host0']);
    await inside(['link', 'set', 'host0', 'up']);
    await inside(['route', 'add', 'default', 'via', hostAddress]);
    return { address, hostAddress, link: linkOf(device) ?? '' };
  }
  throw new Error('no free network for a cluster: 254 of them are in use (make cluster-down ends them)');
}

function linkOf(device: string): string | undefined {
  try {
    return readFileSync(`/sys/class/net/${device}/ifindex`, 'utf8').trim();
  } catch (error) {
    // EINVAL is how the kernel answers for one that goes away while it is read.
    if (['ENOENT', 'EINVAL', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return undefined;
    throw error;
  }
}

/** The command line that runs a program inside. */
export function enter(sandbox: Sandbox, program: string, args: string[]): [string, string[]] {
  return ['nsenter', ['-t', String(sandbox.pid), '-m', '-n', '-p', '--', program, ...args]];
}

/** Ends a program that `enter` started: its process is the child of the nsenter with this id. */
export async function endInside(pid: number): Promise<void> {
  const child = childOf(pid);
  const startTime = child && startTimeOf(child);
  if (!child || !startTime) return;
  process.kill(child, 'SIGKILL');
  await waitFor('a process of the cluster to end', async () => startTimeOf(child) !== startTime, {
    timeoutMs: 10_000,
  });
}

export function isRunning(sandbox: Sandbox): boolean {
  return startTimeOf(sandbox.pid) === sandbox.startTime;
}

/** Ends every process inside, and with them the mounts and devices; waits until they are gone. */
export async function destroySandbox(sandbox: Sandbox, cgroup: string): Promise<void> {
  if (isRunning(sandbox)) process.kill(sandbox.pid, 'SIGKILL');
  await waitFor('the processes of the cluster to end', async () => !isRunning(sandbox), {
    timeoutMs: 20_000,
  });
  const device = `ips${sandbox.hostAddress.split('.')[2]}`;
  // The kernel removes the device by itself, a moment later; asking for it makes the wait short. Where that has happened,
  // one of its name is another cluster's, which would be cut off in the middle of its work.
  if (linkOf(device) === sandbox.link) await run('ip', ['link', 'delete', device]).catch(() => {});
  await removeCgroups(cgroup);
}

/** Control groups outlive the processes that were in them. */
async function removeCgroups(name: string): Promise<void> {
  const root = '/sys/fs/cgroup';
  const hierarchies = existsSync(join(root, 'cgroup.controllers'))
    ? [root]
    : readdirSync(root).map((h) => join(root, h));
  for (const hierarchy of hierarchies) await removeTree(join(hierarchy, name));
}

async function removeTree(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeTree(join(folder, entry.name));
  }
  await waitFor(`control group ${folder} to be empty`, () => rmdir(folder).then(() => true), {
    timeoutMs: 10_000,
  });
}

function childOf(pid: number): number | undefined {
  const file = `/proc/${pid}/task/${pid}/children`;
  const children = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  return children ? Number(children.split(' ')[0]) : undefined;
}

function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Whether this machine lets us make namespaces; the reason if not. */
export async function sandboxObstacle(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'not root: real kubelets need it';
  try {
    await run('unshare', ['--pid', '--fork', '--mount', '--net', 'true']);
  } catch {
    return 'this machine does not allow namespaces (unshare failed)';
  }
  const version = await readFile('/proc/version', 'utf8').catch(() => '');
  return version.startsWith('Linux') ? undefined : 'not Linux';
}
