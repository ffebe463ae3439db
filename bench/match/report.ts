import { median } from '../admission/statistics.ts';
import type { Costs } from './costs.ts';
import { POD_KINDS } from './input.ts';
import type { Result, Side } from './main.ts';

/** How long a call may keep the event loop, in processor time of its own. */
const LONGEST_MS = 10;
const SIDES: [side: Side, head: string][] = [
  ['scheduler', 'scheduler’s library'],
  ['index', 'IPS'],
  ['index from nothing', 'IPS, index made first'],
  ['matcher', 'IPS without index'],
];
/** Nobody makes an index for one question. */
const SIDES_FOR_ONE = SIDES.filter(([side]) => side !== 'index from nothing');
const MANY = '500 workloads';

/** Medians over the rounds, and ratios within each round, in Markdown. */
export function report(results: Result[], costs: Costs[]): string {
  const sizes = [...new Set(results.map(({ nodes }) => nodes))];
  const most = Math.max(...sizes);
  return [
    `All nodes for ${MANY}, in milliseconds; in brackets how many times faster than the scheduler’s library:`,
    comparison(
      sizes.map((nodes) => ({ head: number(nodes), nodes, what: MANY })),
      results,
      { first: 'nodes', unit: 1e6, sides: SIDES },
    ),
    `One workload at ${number(most)} nodes, in nanoseconds a node, by what its pods ask for:`,
    comparison(
      POD_KINDS.map((what) => ({ head: what, nodes: most, what })),
      results,
      { first: 'pod', unit: most, sides: SIDES_FOR_ONE },
    ),
    'What it costs IPS:',
    table(
      [
        ...['nodes', 'nodes in memory', 'indexes', 'put, µs', 'fitting, ms', 'plan, ms'],
        ...['plan with a limit, ms', 'garbage of a plan'],
      ],
      costs.map((each) => [
        number(each.nodes),
        `${each.nodesMB.toFixed(1)} MB`,
        `${each.indexesMB.toFixed(1)} MB`,
        ...[each.putMicros, each.fittingMillis, each.planMillis, each.limitedMillis].map(
          ({ median: middle, longest, wall }) => `${short(middle)} (${short(longest)}; ${short(wall)})`,
        ),
        `${number(Math.round(each.planKB))} kB`,
      ]),
    ),
    '![Milliseconds by the number of nodes](match.svg)',
  ].join('\n\n');
}

type Row = { head: string; nodes: number; what: string };

function comparison(
  rows: Row[],
  results: Result[],
  { first, unit, sides }: { first: string; unit: number; sides: typeof SIDES },
): string {
  return table(
    [first, ...sides.map(([, head]) => head), 'matches'],
    rows.map(({ head, nodes, what }) => [
      head,
      ...sides.map(([side]) => {
        const time = short(timeOf(results, { side, nodes, what }) / unit);
        return side === 'scheduler' ? time : `${time} (${short(faster(results, { side, nodes, what }))})`;
      }),
      number(results.find((each) => each.nodes === nodes && each.what === what)?.matches ?? 0),
    ]),
  );
}

function table(heads: string[], rows: string[][]): string {
  return [heads, heads.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

type Case = Pick<Result, 'side' | 'nodes' | 'what'>;

/** The median over the rounds, in nanoseconds. */
export function timeOf(results: Result[], of: Case): number {
  return median(ofCase(results, of).map(({ nanoseconds }) => nanoseconds));
}

/** How many times the scheduler's library takes: the median of the ratios, since what slows a machine slows both. */
function faster(results: Result[], of: Case): number {
  const others = ofCase(results, { ...of, side: 'scheduler' });
  return median(
    ofCase(results, of).flatMap(({ round, nanoseconds }) => {
      const other = others.find((each) => each.round === round);
      return other ? other.nanoseconds / nanoseconds : [];
    }),
  );
}

function ofCase(results: Result[], { side, nodes, what }: Case): Result[] {
  return results.filter((each) => each.side === side && each.nodes === nodes && each.what === what);
}

/** Empty where all is kept. */
export function missedGoals(results: Result[], costs: Costs[]): string[] {
  const nodes = Math.max(...results.map((each) => each.nodes));
  const slower = (['index', 'matcher'] as const).flatMap((side) =>
    POD_KINDS.map((what) => ({ side, what, times: faster(results, { side, nodes, what }) })),
  );
  const many = (['index', 'index from nothing'] as const).map((side) => ({
    side,
    times: faster(results, { side, nodes, what: MANY }),
  }));
  const held = costs.flatMap(({ nodes: count, putMicros, fittingMillis, planMillis, limitedMillis }) => [
    { what: `a put at ${count} nodes`, millis: putMicros.longest / 1000 },
    { what: `a question at ${count} nodes`, millis: fittingMillis.longest },
    { what: `a plan at ${count} nodes`, millis: planMillis.longest },
    { what: `a plan with a limit at ${count} nodes`, millis: limitedMillis.longest },
  ]);
  return [
    ...slower.flatMap(({ side, what, times }) =>
      times < 1
        ? `one pod (${what}) by ${side}: ${short(times)} times as fast as the scheduler’s library`
        : [],
    ),
    ...many.flatMap(({ side, times }) =>
      times < 5 ? `${MANY} by ${side} are ${short(times)} times faster, not 5` : [],
    ),
    ...held.flatMap(({ what, millis }) =>
      millis > LONGEST_MS
        ? `${what} kept the event loop for ${short(millis)} ms, more than ${LONGEST_MS}`
        : [],
    ),
  ];
}

/** Three digits that count. */
function short(value: number): string {
  return value >= 100 ? number(Math.round(value)) : String(Number(value.toPrecision(2)));
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}
