import type { Result } from './batch.ts';
import { total } from './writes.ts';

type Value = (result: Result) => number;

const COLUMNS: [head: string, digits: number, value: Value][] = [
  ['pods (s)', 1, (result) => result.podsSeconds],
  ['told (s)', 1, (result) => result.warmSeconds],
  ['writes', 0, (result) => total(result.writes)],
  ['at rest', 0, (result) => total(result.writesAtRest)],
  ['IPS requests', 0, (result) => result.requestsByIps],
];

/** The table that is printed: medians over the rounds, and the ratio to bare Indexed Jobs, which is what counts. */
export function report(results: Result[]): string {
  const names = [...new Set(results.map(({ shape }) => shape))];
  const base = medianOf(results, 'indexed-50', ({ warmSeconds }) => warmSeconds);
  const rows = names.map((shape) => [
    shape,
    (medianOf(results, shape, ({ warmSeconds }) => warmSeconds) / base).toFixed(2),
    ...COLUMNS.map(([, digits, value]) => medianOf(results, shape, value).toFixed(digits)),
  ]);
  return [['shape', 'ratio', ...COLUMNS.map(([head]) => head)], ...rows]
    .map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(14) : cell.padStart(13))).join(''))
    .join('\n');
}

const MAX_WRITES = 1950;

/** What the shipped IPS has to keep; empty when it does. Shapes that were not measured are not judged. */
export function missedGoals(results: Result[]): string[] {
  const seconds = (shape: string) => medianOf(results, shape, ({ warmSeconds }) => warmSeconds);
  const most = Math.max(
    ...results.filter(({ shape }) => shape === 'ips-50').map(({ writes }) => total(writes)),
  );
  return [
    seconds('ips-50') > 1.1 * seconds('indexed-50') &&
      'width 50 takes over 10 % longer than bare Indexed Jobs of 50',
    most > MAX_WRITES && `width 50 makes ${most} writes, more than ${MAX_WRITES}`,
    seconds('ips-default') > 1.5 * seconds('ips-50') &&
      'the default ramp takes over 50 % longer than width 50',
  ].filter((goal) => goal !== false);
}

function medianOf(results: Result[], shape: string, value: Value): number {
  const sorted = results
    .filter((result) => result.shape === shape)
    .map(value)
    .sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
}
