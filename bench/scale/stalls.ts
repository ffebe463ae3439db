import { renameSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/**
 * Loaded into IPS before IPS itself (`node --import`): how long its event loop is held up, written to the file
 * BENCH_STALLS each second, and begun anew at SIGUSR2. By the clock, and, of each that is long, by the processor time
 * that the thread used between two turns: a machine that is busy with other things makes the first one larger than IPS
 * did.
 */

const file = process.env['BENCH_STALLS'];
const EVERY_MS = 5;
/** Of which the histogram has one at least in each turn. */
const RESOLUTION_MS = 1;
const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delays.enable();

/** Of processor time, and not longer than by the clock. */
const LONG_MS = 20;
let long: { untilMs: number; clockMs: number; cpuMs: number }[] = [];
let lastCpu = process.threadCpuUsage();
let lastMs = performance.now();

let listens = false;
setInterval(() => {
  // Nobody waits for what is not listening yet: reading its own code takes 300 ms.
  const isFirst = !listens && process.getActiveResourcesInfo().includes('TCPServerWrap');
  if (isFirst) {
    listens = true;
    begin();
  }
  const cpu = process.threadCpuUsage();
  const nowMs = performance.now();
  if (isFirst) [lastCpu, lastMs] = [cpu, nowMs];
  const clockMs = nowMs - lastMs;
  const cpuMs = Math.min(clockMs, (cpu.user + cpu.system - lastCpu.user - lastCpu.system) / 1000);
  if (cpuMs > LONG_MS) long.push({ untilMs: performance.timeOrigin + nowMs, clockMs, cpuMs });
  lastCpu = cpu;
  lastMs = nowMs;
}, EVERY_MS).unref();

function begin(): void {
  delays.reset();
  long = [];
}

function write(): void {
  if (!file) return;
  const seen = {
    p99Ms: delays.percentile(99) / 1e6 || 0,
    maxMs: delays.max / 1e6 || 0,
    long,
  };
  // Never half of it: it is read at any time.
  writeFileSync(`${file}.new`, JSON.stringify(seen));
  renameSync(`${file}.new`, file);
}

setInterval(write, 1000).unref();
process.on('SIGUSR2', begin);
