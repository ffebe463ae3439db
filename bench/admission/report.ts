import type { Measured } from './load.ts';
import type { Result } from './main.ts';
import type { ServerName } from './servers.ts';
import { median } from './statistics.ts';

type Value = (measured: Measured) => number;

const rate: Value = ({ requestsPerSecond }) => requestsPerSecond;
const cpu: Value = ({ cpuMicros }) => cpuMicros;

const COLUMNS: [head: string, digits: number, of: Value][] = [
  ['requests/s', 0, rate],
  ['CPU µs', 0, cpu],
  ['p50 ms', 1, ({ p50Ms }) => p50Ms],
  ['p99 ms', 1, ({ p99Ms }) => p99Ms],
];

type Cell = Pick<Result, 'review' | 'protocol' | 'inFlight'>;

const COMPARED: ServerName[] = ['ips', 'go', 'floor'];
const RATIOS: [head: string, of: (results: Result[], cell: Cell) => number][] = [
  ['requests, IPS to Go', (results, cell) => ratio(results, cell, 'go', rate)],
  ['CPU, IPS to floor', (results, cell) => ratio(results, cell, 'floor', cpu)],
];

/** Medians, and those of the ratios of what was measured side by side, as a table in Markdown. */
export function report(results: Result[]): string {
  const cells = cellsOf(results);
  const heads = [
    'review',
    'protocol',
    'in flight',
    ...COLUMNS.map(([head]) => head),
    ...RATIOS.map(([head]) => head),
  ];
  const rows = cells.map((cell) => [
    ...[cell.review, cell.protocol, String(cell.inFlight)],
    ...COLUMNS.map(([, digits, of]) =>
      COMPARED.map((server) => medianOf(results, cell, server, of).toFixed(digits)).join(' / '),
    ),
    ...RATIOS.map(([, of]) => of(results, cell).toFixed(2)),
  ]);
  const table = [heads, heads.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
  const resident = COMPARED.map((server) => {
    const most = Math.max(
      ...results.filter((result) => result.server === server).map(({ residentMB }) => residentMB),
    );
    return `${server} ${most.toFixed(0)} MB`;
  });
  const byDiff = cells.flatMap((cell) => {
    const times = ratio(results, cell, 'go-diff', rate);
    return Number.isNaN(times) ? [] : `${times.toFixed(2)} times at ${cell.protocol}`;
  });
  return [
    `In each cell: ${COMPARED.join(' / ')}.`,
    table,
    `Most resident memory at any time: ${resident.join(', ')}.`,
    ...(byDiff.length > 0
      ? [
          `Requests of IPS to those of the Go webhook with \`--diff\`, 8 kB, 64 in flight: ${byDiff.join(', ')}.`,
        ]
      : []),
    ...goalsOf(results).map(
      ({ where, reached, goal, met }) =>
        `- ${met ? 'Met' : '**Missed**'}: ${where}: ${reached}, the goal is ${goal}`,
    ),
  ]
    .join('\n\n')
    .replaceAll('\n\n- ', '\n- ')
    .replace('\n- ', '\n\n- ');
}

/** Of IPS to another server: the median of the ratios of each turn, since what slows a machine slows both. */
function ratio(results: Result[], cell: Cell, to: ServerName, of: Value): number {
  const others = ofCell(results, cell, to);
  return median(
    ofCell(results, cell, 'ips').flatMap((mine) => {
      const other = others.find(({ round, turn }) => round === mine.round && turn === mine.turn);
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

function medianOf(results: Result[], cell: Cell, server: ServerName, of: Value): number {
  return median(ofCell(results, cell, server).map(of));
}

type Goal = { where: string; reached: string; goal: string; met: boolean };

/** Whether there are goals for it: an ordinary Deployment while the API server is busy. */
export function isJudged({ review, inFlight }: Cell): boolean {
  return review === '8 kB' && inFlight === 64;
}

export function goalsOf(results: Result[]): Goal[] {
  const judged = cellsOf(results).filter(isJudged);
  return judged.flatMap((cell) => {
    const where = `${cell.review}, ${cell.protocol}, ${cell.inFlight} in flight`;
    const faster = ratio(results, cell, 'go', rate);
    const dearer = ratio(results, cell, 'floor', cpu);
    const p99 = medianOf(results, cell, 'ips', ({ p99Ms }) => p99Ms);
    return [
      {
        where,
        reached: `${faster.toFixed(2)} times the requests of the Go webhook`,
        goal: '3',
        met: faster >= 3,
      },
      {
        where,
        reached: `${dearer.toFixed(2)} times the CPU time of the floor`,
        goal: '1.5',
        met: dearer <= 1.5,
      },
      { where, reached: `p99 ${p99.toFixed(1)} ms`, goal: 'under 20', met: p99 < 20 },
    ];
  });
}
