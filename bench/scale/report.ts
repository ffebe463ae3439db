import type { Phase, ShapeResult, SizeResult } from './main.ts';
import { total } from './requests.ts';
import { BARE, IPS_50, IPS_DEFAULT, JOB_PER_NODE } from './shapes.ts';

const MOST_MB = 200;
const MOST_STALL_MS = 50;
const MOST_WRITES_A_NODE = 6.5;
const MOST_AT_REST = 1;

/** Every phase in which IPS is at work, by what it is called. */
function phasesOf({ standing, shapes, start, rest, changes, burst }: SizeResult): [string, Phase][] {
  return [
    ['500 workloads', standing],
    ...shapes.map(({ shape, ips }): [string, Phase] => [shape, ips]),
    ['start', start.ips],
    ['rest', rest],
    ...(changes ? [['changes', changes] satisfies [string, Phase]] : []),
    ['burst', burst.ips],
  ];
}

function shapeOf({ shapes }: SizeResult, name: string): ShapeResult | undefined {
  return shapes.find(({ shape }) => shape === name);
}

/** What IPS has to keep; empty when it does. What was not measured is not judged. */
export function missedGoals(results: SizeResult[]): string[] {
  return results.flatMap((result) => missedOf(result).map((goal) => `${result.nodes} nodes: ${goal}`));
}

function missedOf(result: SizeResult): string[] {
  const seconds = (shape: string) => shapeOf(result, shape)?.seconds ?? Number.NaN;
  const ips = shapeOf(result, IPS_50);
  const writes = total(ips?.writes ?? {}) / result.nodes;
  const [bare, slow] = [seconds(IPS_50) / seconds(BARE), seconds(JOB_PER_NODE) / seconds(IPS_50)];
  const missed: (string | false)[] = [
    bare > 1.1 && `width 50 takes ${bare.toFixed(2)} times as long as bare Indexed Jobs, the goal is 1.1`,
    slow < 2.5 && `width 50 is ${slow.toFixed(2)} times faster than one Job a node, the goal is 2.5`,
    seconds(IPS_DEFAULT) > 1.5 * seconds(IPS_50) && 'the default ramp takes over 50 % longer than width 50',
    writes > MOST_WRITES_A_NODE && `${writes.toFixed(2)} writes a node, the goal is ${MOST_WRITES_A_NODE}`,
    result.rest.requests.perSecond > MOST_AT_REST &&
      `${result.rest.requests.perSecond.toFixed(2)} requests a second at rest, the goal is ${MOST_AT_REST}`,
    result.burst.tasks !== 1 && `${result.burst.pods} pods made ${result.burst.tasks} tasks`,
  ];
  for (const [name, { peakMB, stalls }] of phasesOf(result)) {
    missed.push(
      peakMB >= MOST_MB && `${name}: ${peakMB.toFixed(0)} MB, the goal is under ${MOST_MB}`,
      stalls.maxOwnMs > MOST_STALL_MS &&
        `${name}: IPS held up its event loop for ${stalls.maxOwnMs.toFixed(0)} ms, the goal is ${MOST_STALL_MS}`,
    );
  }
  return missed.filter((goal) => goal !== false);
}

const HEADS = [
  ...['nodes', 'phase', 'seconds', 'ratio', 'writes a node', 'requests', 'a second', 'at peak'],
  ...['peak MB', 'p99 ms', 'stall ms', 'in CPU time', 'of its own', 'CPU s', 'frozen s'],
];

function rows(results: SizeResult[]): string[][] {
  return results.flatMap((result) => {
    const bare = shapeOf(result, BARE)?.seconds ?? Number.NaN;
    return phasesOf(result).map(([name, each]) => {
      const shape = shapeOf(result, name);
      const { requests, stalls } = each;
      return [
        ...[String(result.nodes), name],
        (name === 'start' ? result.start.seconds : each.seconds).toFixed(1),
        shape ? (shape.seconds / bare).toFixed(2) : '',
        shape ? (total(shape.writes) / result.nodes).toFixed(2) : '',
        ...[String(requests.count), requests.perSecond.toFixed(2), String(requests.peakPerSecond)],
        ...[each.peakMB.toFixed(0), stalls.p99Ms.toFixed(0), stalls.maxMs.toFixed(0)],
        ...[stalls.maxCpuMs.toFixed(0), stalls.maxOwnMs.toFixed(0), each.cpuSeconds.toFixed(1)],
        (each.frozenMs / 1000).toFixed(1),
      ];
    });
  });
}

/** What is printed. */
export function table(results: SizeResult[]): string {
  return [HEADS, ...rows(results)]
    .map((row) => row.map((cell, at) => (at === 1 ? cell.padEnd(24) : cell.padStart(14))).join(''))
    .join('\n');
}

/** The section of the page. */
export function page(results: SizeResult[], missed: string[], files: string[]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const lines = [line(HEADS), line(HEADS.map(() => '---')), ...rows(results).map(line)];
  const goals = missed.length > 0 ? missed.map((goal) => `- **Missed**: ${goal}`) : ['Every goal was met.'];
  const from = files.map((file) => `\`${file}\``).join(', ');
  const kept = `Kept with every request by verb and resource: ${from}.`;
  return [...lines, '', kept, '', ...goals].join('\n');
}
