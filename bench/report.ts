import type { Result } from './batch.ts';
import { total } from './writes.ts';

/** The table that is printed: the median over rounds, and the ratios to bare Indexed Jobs, which are what counts. */
export function report(results: Result[]): string {
  const names = [...new Set(results.map(({ shape }) => shape))];
  const of = (shape: string, value: (result: Result) => number) =>
    median(results.filter((result) => result.shape === shape).map(value));
  const base = of('indexed-50', (result) => result.warmSeconds);
  const rows = names.map((shape) => {
    const warm = of(shape, (result) => result.warmSeconds);
    return [
      shape,
      of(shape, (result) => result.podsSeconds).toFixed(1),
      warm.toFixed(1),
      (warm / base).toFixed(2),
      String(of(shape, (result) => total(result.writes))),
      String(of(shape, (result) => total(result.writesAtRest))),
      String(of(shape, (result) => result.requestsByIps)),
    ];
  });
  const head = ['shape', 'pods (s)', 'warm (s)', 'ratio', 'writes', 'at rest', 'IPS requests'];
  return [head, ...rows]
    .map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(14) : cell.padStart(13))).join(''))
    .join('\n');
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
}
