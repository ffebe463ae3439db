import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import type { AdmissionResult } from '../../src/admission/admission.ts';
import { check, createSubject, type Subject } from './checks.ts';
import { type Case, cases } from './reviews.ts';

export type FuzzOptions = {
  seconds: number;
  seed: number;
  /** Told now and then how far it is. */
  progress?: (told: { cases: number; seconds: number }) => void;
};

export type FuzzReport = {
  cases: number;
  seconds: number;
  results: Map<AdmissionResult, number>;
  /** The longest that one answer took, in ms of this thread's CPU. */
  slowestMs: number;
  /** What the heap grew by, from when it was warm, in MB. */
  grownMb: number;
  failure?: { seed: number; reason: string; smallest: Case };
};

const BATCH = 500;
/** Of CPU, so that it holds on a busy machine, too. */
const MAX_CASE_MS = 100;
/** A collection of garbage may come in any try, but not in each. */
const TRIES = 5;
const MAX_GROWTH_MB = 32;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Asks the whole server, batch after batch, each with the next seed; a batch is the same for the same seed. */
export async function fuzz({ seconds, seed, progress }: FuzzOptions): Promise<FuzzReport> {
  const subject = await createSubject();
  const started = performance.now();
  const report: FuzzReport = { cases: 0, seconds: 0, results: subject.results, slowestMs: 0, grownMb: 0 };
  const timed = async (request: Case) => {
    const { answer, ms } = await leastOf(subject, request);
    report.slowestMs = Math.max(report.slowestMs, ms);
    if (ms > MAX_CASE_MS) throw new Error(`one answer took ${ms.toFixed(0)} ms of CPU`);
    return answer;
  };
  let warmMb: number | undefined;
  try {
    for (let batch = seed; report.seconds < seconds && !report.failure; batch += 1) {
      const details = await fc.check(
        fc.asyncProperty(cases, (request) => check(request, timed)),
        { seed: batch, numRuns: BATCH, interruptAfterTimeLimit: 120_000 },
      );
      report.cases += details.numRuns;
      report.seconds = (performance.now() - started) / 1000;
      const smallest = details.counterexample?.[0];
      if (details.failed && smallest) {
        const { errorInstance } = details;
        const reason = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
        report.failure = { seed: batch, reason, smallest };
      }
      // What is compiled, cached and interned is there by then.
      if (warmMb === undefined && report.seconds > seconds / 4) warmMb = heapMb();
      progress?.(report);
    }
    report.grownMb = heapMb() - (warmMb ?? heapMb());
    return report;
  } finally {
    await subject.close();
  }
}

export function grewTooMuch({ grownMb }: FuzzReport): boolean {
  return grownMb > MAX_GROWTH_MB;
}

async function leastOf(subject: Subject, request: Case) {
  let ms = Number.POSITIVE_INFINITY;
  for (let count = 1; ; count += 1) {
    const before = process.threadCpuUsage();
    const answer = await subject.ask(request);
    const { user, system } = process.threadCpuUsage(before);
    ms = Math.min(ms, (user + system) / 1000);
    if (ms <= MAX_CASE_MS || count >= TRIES) return { answer, ms };
  }
}

function heapMb(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / (1 << 20);
}
