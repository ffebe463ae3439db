/** What the controllers need of the other replicas. Nothing breaks when an answer is wrong: names and resource versions see to that. */

import type { Ask } from './grant.ts';

/** Keeps replicas from doing the same work. It only saves work: names and resource versions keep what must hold. */
export type Lock = {
  /** Takes the lock, or keeps it where this replica has it. False: another has it now. Renewed by itself until released. */
  acquire(name: string): Promise<boolean>;
  /** Whether it is ours still, by a clock that goes on while the process is stopped: asked right before each write. */
  holds(name: string): boolean;
  release(name: string): Promise<void>;
};

/** So much at the same time in the cluster: tasks that warm, warmers that pull. */
export type Semaphore = {
  /** Absolute numbers, so that a call too many or too few mends itself. Gives how many more it may start, 0 to `wanted`. */
  claim(holder: string, ask: Ask): Promise<number>;
  release(holder: string): Promise<void>;
};
