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

export async function startFreezes(): Promise<Freezes> {
  const children: ChildProcess[] = [];
  const freezes = cpus().map((_, cpu) => {
    const command = ['--pdeathsig', 'KILL', 'taskset', '--cpu-list', String(cpu), 'chrt', '--fifo', PRIORITY];
    const child = spawn('setpriv', [...command, process.execPath, import.meta.filename], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    const seen: Freeze[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => void seen.push(JSON.parse(line) as Freeze));
    return seen;
  });
  return {
    frozenMs(fromMs, untilMs) {
      const overlap = (freeze: Freeze) =>
        Math.max(0, Math.min(untilMs, freeze.untilMs) - Math.max(fromMs, freeze.fromMs));
      return Math.max(...freezes.map((seen) => seen.reduce((sum, freeze) => sum + overlap(freeze), 0)));
    },
    async stop() {
      for (const child of children) {
        const ended = once(child, 'exit');
        if (child.kill()) await ended;
      }
    },
  };
}

function watchClock(): void {
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
