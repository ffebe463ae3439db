import { readFile, writeFile } from 'node:fs/promises';
import type { Measured } from './load.ts';
import type { Result } from './main.ts';
import type { ServerName } from './servers.ts';
import { median } from './statistics.ts';

const BEGIN = '<!-- admission -->';
const END = '<!-- /admission -->';

const COLUMNS: [head: string, digits: number, of: (measured: Measured) => number][] = [
  ['requests/s', 0, ({ requestsPerSecond }) => requestsPerSecond],
  ['CPU µs', 0, ({ cpuMicros }) => cpuMicros],
  ['p50 ms', 1, ({ p50Ms }) => p50Ms],
  ['p99 ms', 1, ({ p99Ms }) => p99Ms],
];

type Cell = Pick<Result, 'review' | 'protocol' | 'inFlight'>;

/** Medians over the rounds, and ratios within each round, as a table in Markdown. */
export function report(results: Result[]): string {
  const servers = [...new Set(results.map(({ server }) => server))].sort(
    (a, b) => ORDER.indexOf(a) - ORDER.indexOf(b),
  );
  const heads = [
    'review',
    'protocol',
    'in flight',
    ...COLUMNS.map(([head]) => head),
    ...RATIOS.map(([head]) => head),
  ];
  const rows = cellsOf(results).map((cell) => [
    ...[cell.review, cell.protocol, String(cell.inFlight)],
    ...COLUMNS.map(([, digits, of]) =>
      servers.map((server) => median(ofCell(results, cell, server).map(of)).toFixed(digits)).join(' / '),
    ),
    ...RATIOS.map(([, ratio]) => ratio(results, cell).toFixed(2)),
  ]);
  const resident = servers.map((server) => {
    const most = Math.max(
      ...results.filter((result) => result.server === server).map((each) => each.residentMB),
    );
    return `${server} ${most.toFixed(0)} MB`;
  });
  const table = [heads, heads.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
  return `In each cell: ${servers.join(' / ')}.\n\n${table}\n\nMost resident memory: ${resident.join(', ')}.`;
}

const ORDER: ServerName[] = ['ips', 'go', 'go-diff', 'floor'];
const RATIOS: [head: string, of: (results: Result[], cell: Cell) => number][] = [
  [
    'IPS to go, requests/s',
    (results, cell) => ratio(results, cell, 'go', ({ requestsPerSecond }) => requestsPerSecond),
  ],
  [
    'to go-diff',
    (results, cell) => ratio(results, cell, 'go-diff', ({ requestsPerSecond }) => requestsPerSecond),
  ],
  ['IPS to floor, CPU', (results, cell) => ratio(results, cell, 'floor', ({ cpuMicros }) => cpuMicros)],
];

/** Of IPS to another server: the median of the ratios of each round, since what slows a machine slows both. */
function ratio(results: Result[], cell: Cell, to: ServerName, of: (measured: Measured) => number): number {
  const others = ofCell(results, cell, to);
  return median(
    ofCell(results, cell, 'ips').flatMap((mine) => {
      const other = others.find(({ round }) => round === mine.round);
      return other ? of(mine) / of(other) : [];
    }),
  );
}

function cellsOf(results: Result[]): Cell[] {
  const keys = new Map(
    results.map(({ review, protocol, inFlight }) => [
      `${review} ${protocol} ${inFlight}`,
      { review, protocol, inFlight },
    ]),
  );
  return [...keys.values()];
}

function ofCell(results: Result[], cell: Cell, server: ServerName): Result[] {
  return results.filter(
    (result) =>
      result.server === server &&
      result.review === cell.review &&
      result.protocol === cell.protocol &&
      result.inFlight === cell.inFlight,
  );
}

/** What admission has to keep with an ordinary Deployment when the API server is busy; empty when it does. */
export function missedGoals(results: Result[]): string[] {
  const busy = cellsOf(results).filter(({ review, inFlight }) => review === '8 kB' && inFlight === 64);
  return busy.flatMap((cell) => {
    const where = `${cell.review}, ${cell.protocol}, ${cell.inFlight} in flight`;
    const faster = ratio(results, cell, 'go', ({ requestsPerSecond }) => requestsPerSecond);
    const cpu = ratio(results, cell, 'floor', ({ cpuMicros }) => cpuMicros);
    const p99 = median(ofCell(results, cell, 'ips').map(({ p99Ms }) => p99Ms));
    return [
      faster < 3 && `${where}: ${faster.toFixed(2)} times the requests of the Go webhook, not 3`,
      cpu > 1.5 && `${where}: ${cpu.toFixed(2)} times the processor time of the floor, more than 1.5`,
      p99 >= 20 && `${where}: p99 is ${p99.toFixed(1)} ms, not under 20`,
    ].filter((goal) => goal !== false);
  });
}

/** Puts the text between our two marks of a page, and leaves the rest of it as it is. */
export async function writeSection(page: string, text: string): Promise<void> {
  const before = await readFile(page, 'utf8');
  const begin = before.indexOf(BEGIN);
  const end = before.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${page} has no ${BEGIN} and ${END}`);
  await writeFile(page, `${before.slice(0, begin)}${BEGIN}\n${text}\n${before.slice(end)}`);
}
