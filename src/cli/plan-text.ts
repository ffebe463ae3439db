import type { PlannedNode, PlannedWorkload } from './plan-workload.ts';

/** A plan as a person reads it, in kubectl's manner. */
export function planText(planned: readonly PlannedWorkload[], wide: boolean): string {
  return planned.map((each) => workloadText(each, wide)).join('\n');
}

function workloadText(planned: PlannedWorkload, wide: boolean): string {
  const { kind, namespace, name, nodes, skipped, batches, because } = planned;
  const cold = nodes.filter(({ batch }) => batch !== undefined).length;
  const has = nodes.length - cold;
  const summary = [
    count(planned.images.length, 'image'),
    `${nodes.length} of ${count(nodes.length + skipped.length, 'node')}${has ? ` (${has} with all images already)` : ''}`,
    count(batches.length, 'batch', 'batches'),
    strategies(nodes),
  ];
  const lines = [
    `${kind} ${namespace}/${name}: ${summary.filter(Boolean).join(', ')}`,
    ...(because === undefined ? [] : [`  NOT PREWARMED as it stands: ${because}. Otherwise:`]),
    ...planned.warnings.map((warning) => `  WARNING: ${warning}`),
    ...(wide ? [`  task ${planned.task}`] : []),
    '',
    ...table([
      ['IMAGE', 'PULL POLICY'],
      ...planned.images.map(({ image, pullPolicy }) => [image, pullPolicy]),
    ]),
    '',
    ...table([['NODE', 'BATCH', 'STRATEGY', 'REASON'], ...nodes.map(nodeRow), ...skipped.map(skippedRow)]),
    '',
    ...table(jobRows(planned, wide)),
  ];
  return `${lines.join('\n')}\n`;
}

function nodeRow({ name, batch, strategy, strategyAssumed, strategyReason = '' }: PlannedNode): string[] {
  const how = strategyAssumed ? `${strategy} (assumed)` : strategy;
  if (batch === undefined) return [name, '-', how, 'has all images already'];
  return [name, String(batch), how, strategyReason];
}

function skippedRow({ node, reason }: { node: string; reason: string }): string[] {
  return [node, '-', '-', `left out: ${reason}`];
}

/** The name of a Job holds the UID of its task, which is not made yet: batches stand for the names. */
function jobRows({ batches, images }: PlannedWorkload, wide: boolean): string[][] {
  const head = [
    'JOB OF BATCH',
    'NODES',
    'STRATEGY',
    'IMAGES',
    ...(wide ? ['NODE NAMES', 'IMAGE NAMES'] : []),
  ];
  const rows = batches.map((each) => [
    String(each.batch),
    String(each.nodes.length),
    each.strategy,
    `${each.images.length} of ${images.length}`,
    ...(wide ? [each.nodes.join(','), each.images.join(',')] : []),
  ]);
  return rows.length > 0 ? [head, ...rows] : [['no Job to make']];
}

function strategies(nodes: readonly PlannedNode[]): string {
  return [...new Set(nodes.map(({ strategy }) => strategy))].sort().join(' and ');
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** Columns as wide as their widest cell, three spaces apart; the last one as it comes. */
function table(rows: string[][]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  return rows.map((row) => {
    const cells = row.map((cell, at) => (at < row.length - 1 ? cell.padEnd((widths[at] ?? 0) + 3) : cell));
    return `  ${cells.join('').trimEnd()}`;
  });
}
