/** The names that IPS reads and writes on workloads, and what their values may be. */

import { quote } from './quote.ts';

/** Opts a workload in, on the workload or its pod template; as a label (which can be selected on) a cache of it. */
export const PREWARM = 'ips/prewarm';
/** Marks IPS's own pods and Jobs. */
export const WARMER_LABEL = 'ips/warmer';
/** On a Job and its pods: the task they belong to. */
export const TASK_LABEL = 'ips/task';
/** On a Job's pod template: its nodes, in the order of completion indexes, separated by commas. */
export const NODES_ANNOTATION = 'ips/nodes';

/** Written by IPS on workloads, never read back as a wish. */
export const OUTPUT = {
  status: 'ips/status',
  task: 'ips/task',
  lastWarmed: 'ips/last-warmed',
  message: 'ips/message',
} as const;

export type RetryStrategy = 'linear' | 'exponential';

/** What a user asks for beside the opt-in; a field that is absent was not set, or was set wrongly (a warning tells). */
export type Settings = {
  /** 1 (last) to 10 (first). */
  priority?: number;
  /** A number of nodes, or a percentage such as `25%`. */
  maxNodes?: string;
  /** How many nodes pull at the same time, 1 to 50. */
  concurrentPulls?: number;
  timeoutSeconds?: number;
  /** 0 to 5. */
  retryLimit?: number;
  retryStrategy?: RetryStrategy;
  excludeContainers: string[];
  extraImages: string[];
  notify: string[];
};

type Layer = Record<string, string> | undefined;
type Reader = (value: string, settings: Settings) => string | undefined;

const DURATION_UNITS: Record<string, number> = { s: 1, m: 60, h: 3600 };
const MAX_TIMEOUT_SECONDS = 86_400;
/** More than a task takes of anything; it bounds how long a list of commas is looked at. */
const MAX_LIST = 1000;

const READERS: Record<string, Reader> = {
  [PREWARM]: (value) =>
    value === 'true' || value === 'false' ? undefined : 'must be "true" or "false"; not prewarmed',
  'ips/priority': (value, settings) => readInteger(value, 1, 10, (n) => (settings.priority = n)),
  'ips/max-nodes': readMaxNodes,
  'ips/concurrent-pulls': (value, settings) =>
    readInteger(value, 1, 50, (n) => (settings.concurrentPulls = n)),
  'ips/timeout': readTimeout,
  'ips/retry-limit': (value, settings) => readInteger(value, 0, 5, (n) => (settings.retryLimit = n)),
  'ips/retry-strategy': (value, settings) => {
    if (value !== 'linear' && value !== 'exponential') return 'must be "linear" or "exponential"; ignored';
    settings.retryStrategy = value;
    return undefined;
  },
  'ips/exclude-containers': (value, settings) =>
    readList(value, (names) => (settings.excludeContainers = names)),
  'ips/extra-images': (value, settings) => readList(value, (images) => (settings.extraImages = images)),
  'ips/notify': readNotifiers,
};

const OUTPUT_NAMES: readonly string[] = Object.values(OUTPUT);

/** Whether the annotations opt in; those of the workload go before those of its pod template. */
export function isOptedIn(workload: Layer, template: Layer): boolean {
  return (own(workload, PREWARM) ?? own(template, PREWARM)) === 'true';
}

/** Reads the settings of a workload, its own annotations before those of its pod template. */
export function parseSettings(workload: Layer, template: Layer): { settings: Settings; warnings: string[] } {
  const settings: Settings = { excludeContainers: [], extraImages: [], notify: [] };
  const warnings: string[] = [];
  const merged: Record<string, string> = { ...template, ...workload };
  for (const name of Object.keys(merged)) {
    if (!name.startsWith('ips/') || OUTPUT_NAMES.includes(name)) continue;
    const value = String(merged[name]);
    const read = Object.hasOwn(READERS, name) ? READERS[name] : undefined;
    if (!read) {
      warnings.push(`annotation ${name} is not known; known are ${Object.keys(READERS).join(', ')}`);
      continue;
    }
    const problem = read(value, settings);
    if (problem) warnings.push(`annotation ${name}: ${quote(value)} ${problem}`);
  }
  return { settings, warnings };
}

function own(layer: Layer, name: string): string | undefined {
  return layer && Object.hasOwn(layer, name) ? layer[name] : undefined;
}

function readInteger(
  value: string,
  least: number,
  most: number,
  set: (n: number) => void,
): string | undefined {
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= least && number <= most)) return `must be a whole number from ${least} to ${most}; ignored`;
  set(number);
  return undefined;
}

function readMaxNodes(value: string, settings: Settings): string | undefined {
  const [, digits, percent] = /^([1-9]\d{0,5})(%?)$/.exec(value) ?? [];
  const number = Number(digits);
  const fits = number >= 1 && (percent !== '%' || number <= 100);
  if (!fits) return 'must be a number of nodes, 1 or more, or a percentage from 1% to 100%; ignored';
  settings.maxNodes = value;
  return undefined;
}

function readTimeout(value: string, settings: Settings): string | undefined {
  const [, digits, unit] = /^(\d{1,6})([smh])$/.exec(value) ?? [];
  const seconds = Number(digits) * (DURATION_UNITS[unit ?? ''] ?? Number.NaN);
  if (!(seconds >= 1 && seconds <= MAX_TIMEOUT_SECONDS)) {
    return 'must be a duration from 1s to 24h, such as 90s, 30m or 2h; ignored';
  }
  settings.timeoutSeconds = seconds;
  return undefined;
}

function readList(value: string, set: (items: string[]) => void): string | undefined {
  const parts = value.split(',', MAX_LIST + 1);
  const items = parts
    .slice(0, MAX_LIST)
    .map((item) => item.trim())
    .filter(Boolean);
  if (items.length === 0) return 'is an empty list; ignored';
  set(items);
  return parts.length > MAX_LIST ? `is too long: the first ${MAX_LIST} entries count` : undefined;
}

/** As many, and as long, as the schema of PrewarmTask takes. */
export const MAX_NOTIFIERS = 20;
const MAX_NOTIFIER_LENGTH = 63;

function readNotifiers(value: string, settings: Settings): string | undefined {
  let names: string[] = [];
  const problem = readList(value, (items) => (names = items));
  settings.notify = names.filter((name) => name.length <= MAX_NOTIFIER_LENGTH).slice(0, MAX_NOTIFIERS);
  if (settings.notify.length === names.length) return problem;
  return `may have ${MAX_NOTIFIERS} names of ${MAX_NOTIFIER_LENGTH} characters; the others are ignored`;
}
