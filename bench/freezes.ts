import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';

/**
 * When the machine itself stood still. The host of a virtual machine may stop it for hundreds of milliseconds, and what
 * Linux counts as processor time of a thread goes on meanwhile: an idle program seems to have worked. On each processor
 * a program of the highest priority looks at the clock each millisecond; where it was late, nothing ran there.
 */
export type Freezes = {
  /** For how much of this time the processor that was stopped longest stood still. Times are in ms since the epoch. */
  frozenMs(fromMs: number, untilMs: number): number;
  stop(): Promise<void>;
};

type Freeze = { fromMs: number; untilMs: number };

const EVERY_MS = 1;
/** Waking up, and collecting its own garbage, may take this long. */
const LATE_MS = 4;
const PRIORITY = '50';

type Watcher = { child: ChildProcess; seen: Freeze[] };

/** Fails where nothing may have that priority: then nobody would know of a stop. */
export async function startFreezes(): Promise<Freezes> {
  const watchers: Watcher[] = [];
  const stop = async () => {
    for (const { child } of watchers) {
      const ended = once(child, 'exit');
      if (child.kill()) await ended;
    }
  };
  try {
    for (const cpu of cpus().keys()) watchers.push(await startWatcher(cpu));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    frozenMs(fromMs, untilMs) {
      const overlap = (freeze: Freeze) =>
        Math.max(0, Math.min(untilMs, freeze.untilMs) - Math.max(fromMs, freeze.fromMs));
      return Math.max(...watchers.map(({ seen }) => seen.reduce((sum, freeze) => sum + overlap(freeze), 0)));
    },
    stop,
  };
}

async function startWatcher(cpu: number): Promise<Watcher> {
  const command = ['--pdeathsig', 'KILL', 'taskset', '--cpu-list', String(cpu), 'chrt', '--fifo', PRIORITY];
  const child = spawn('setpriv', [...command, process.execPath, import.meta.filename], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const seen: Freeze[] = [];
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => void seen.push(JSON.parse(line) as Freeze));
  const runs = await Promise.race([
    once(lines, 'line').then(() => true),
    once(child, 'close').then(() => false),
  ]);
  if (runs) return { child, seen };
  throw new Error(
    `stops of the machine cannot be looked for on processor ${cpu}: chrt --fifo needs root or CAP_SYS_NICE, and taskset that processor`,
  );
}

function watchClock(): void {
  // Of no length: it runs.
  process.stdout.write(`${JSON.stringify({ fromMs: 0, untilMs: 0 })}\n`);
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    if (now - last > EVERY_MS + LATE_MS) {
      const [fromMs, untilMs] = [last + EVERY_MS, now].map((each) => performance.timeOrigin + each);
      process.stdout.write(`${JSON.stringify({ fromMs, untilMs })}\n`);
    }
    last = now;
  }, EVERY_MS);
}

if (import.meta.main) watchClock();
