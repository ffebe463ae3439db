import type { Costs } from './costs.ts';
import type { Result, Side } from './main.ts';
import { timeOf } from './report.ts';

/** A plot with two logarithmic axes as SVG: no colour of its own behind it, and none that vanishes on black or white. */

type Line = { name: string; colour: string; dash?: string; points: [nodes: number, millis: number][] };

const [WIDTH, HEIGHT] = [760, 420];
const AREA = { left: 80, top: 45, right: 550, bottom: 365 };
const GREY = '#808890';

export function plot(results: Result[], costs: Costs[]): string {
  const sizes = [...new Set(results.map(({ nodes }) => nodes))];
  const of = (side: Side): Line['points'] =>
    sizes.map((nodes) => [nodes, timeOf(results, { side, nodes, what: '500 workloads' }) / 1e6]);
  const lines: Line[] = [
    { name: 'scheduler’s library', colour: '#d1495b', points: of('scheduler') },
    { name: 'IPS without index', colour: '#c98a1b', points: of('matcher') },
    {
      name: 'IPS, index made first',
      colour: '#3f8fc7',
      dash: '6 4',
      points: of('index from nothing'),
    },
    { name: 'IPS', colour: '#3f8fc7', points: of('index') },
    {
      name: 'IPS: one plan',
      colour: '#3a9d6e',
      points: costs.map(({ nodes, planMillis }) => [nodes, planMillis.median]),
    },
  ];
  const millis = lines.flatMap(({ points }) => points.map(([, y]) => Math.log10(y)));
  const yAxis = axis(Math.floor(Math.min(...millis)), Math.ceil(Math.max(...millis)), AREA.bottom, AREA.top);
  const xAxis = axis(Math.log10(sizes[0] ?? 1), Math.log10(sizes.at(-1) ?? 10), AREA.left, AREA.right);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13" fill="${GREY}">`,
    '<title>Milliseconds to find the nodes of workloads, by the number of nodes</title>',
    ...yAxis.decades.map((decade) => gridLine(yAxis.at(10 ** decade), 10 ** decade)),
    ...sizes.map((nodes) => text(xAxis.at(nodes), AREA.bottom + 20, nodes.toLocaleString('en-US'), 'middle')),
    text((AREA.left + AREA.right) / 2, HEIGHT - 10, 'nodes', 'middle'),
    text(AREA.left, 22, 'all nodes for 500 workloads; and one plan', 'start'),
    ...legend(lines, yAxis.at),
    ...lines.map(({ colour, dash, points }) => {
      const path = points.map(([x, y]) => `${round(xAxis.at(x))},${round(yAxis.at(y))}`).join(' ');
      const dashes = dash ? ` stroke-dasharray="${dash}"` : '';
      return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2.5"${dashes}/>`;
    }),
    '</svg>',
    '',
  ].join('\n');
}

function axis(from: number, to: number, start: number, end: number) {
  const at = (value: number) => start + ((Math.log10(value) - from) / (to - from)) * (end - start);
  return { at, decades: Array.from({ length: Math.floor(to - from) + 1 }, (_, step) => from + step) };
}

function gridLine(y: number, millis: number): string {
  const line = `<line x1="${AREA.left}" x2="${AREA.right}" y1="${round(y)}" y2="${round(y)}" stroke="${GREY}" stroke-opacity="0.35"/>`;
  return `${line}${text(AREA.left - 8, y + 4, `${Number(millis.toPrecision(1)).toLocaleString('en-US')} ms`, 'end')}`;
}

/** Each name where its line ends, the names apart from each other. */
function legend(lines: Line[], yAt: (millis: number) => number): string[] {
  let lowest = 0;
  return lines
    .map(({ name, colour, points }) => ({ name, colour, y: yAt(points.at(-1)?.[1] ?? 1) }))
    .sort((a, b) => a.y - b.y)
    .map(({ name, colour, y }) => {
      lowest = Math.max(y + 4, lowest + 18);
      return text(AREA.right + 8, lowest, name, 'start', colour);
    });
}

function text(x: number, y: number, what: string, anchor: string, fill = GREY): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="${fill}">${what}</text>`;
}

function round(value: number): string {
  return value.toFixed(1);
}
