import { renameSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/**
 * Loaded into IPS before IPS itself (`node --import`): how long its event loop is held up, written to the file
 * BENCH_STALLS each second, and begun anew at SIGUSR2. By the clock, and by the processor time that the thread used
 * between two turns: a machine that is busy with other things makes the first one larger than IPS did.
 */

const file = process.env['BENCH_STALLS'];
const EVERY_MS = 5;
/** Of which the histogram has one at least in each turn. */
const RESOLUTION_MS = 1;
const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delays.enable();

let longestCpuMs = 0;
let over50 = 0;
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
  const cpuMs = (cpu.user + cpu.system - lastCpu.user - lastCpu.system) / 1000;
  const stallMs = Math.min(cpuMs, nowMs - lastMs);
  longestCpuMs = Math.max(longestCpuMs, stallMs);
  if (stallMs > 50) over50 += 1;
  lastCpu = cpu;
  lastMs = nowMs;
}, EVERY_MS).unref();

function begin(): void {
  delays.reset();
  longestCpuMs = 0;
  over50 = 0;
}

function write(): void {
  if (!file) return;
  const seen = {
    p99Ms: delays.percentile(99) / 1e6 || 0,
    maxMs: delays.max / 1e6 || 0,
    maxCpuMs: longestCpuMs,
    over50,
  };
  // Never half of it: it is read at any time.
  writeFileSync(`${file}.new`, JSON.stringify(seen));
  renameSync(`${file}.new`, file);
}

setInterval(write, 1000).unref();
process.on('SIGUSR2', begin);
