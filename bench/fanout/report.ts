export type FanoutResult = {
  registry: string;
  /** `as shipped`, or the width that stays. */
  width: number | 'as shipped';
  /** False where nodes were cold still when the bench had waited for long enough. */
  warm: boolean;
  /** From `kubectl apply` until `ips/status` says that all nodes are warm. */
  seconds: number;
  /** As IPS counts them: a node that was refused in one try. */
  failedPulls: number;
  /** Jobs. */
  batches: number;
  /** All that the registry was asked, and how much of that it answered with 429. */
  requests: number;
  refused: number;
};

/** Medians over the rounds. */
export function report(results: FanoutResult[]): string {
  const keys = [...new Set(results.map(({ registry, width }) => `${registry}|${width}`))];
  const rows = keys.map((key) => {
    const same = results.filter(({ registry, width }) => `${registry}|${width}` === key);
    const median = (value: (result: FanoutResult) => number) =>
      same.map(value).toSorted((a, b) => a - b)[Math.floor(same.length / 2)] ?? Number.NaN;
    const numbers = [
      `${same.every(({ warm }) => warm) ? '' : 'over '}${median(({ seconds }) => seconds).toFixed(1)}`,
      ...[
        median((r) => r.failedPulls),
        median((r) => r.batches),
        median((r) => r.requests),
        median((r) => r.refused),
      ],
    ];
    return [...key.split('|'), ...numbers.map(String)];
  });
  const head = ['registry', 'width', 'seconds', 'failed pulls', 'batches', 'requests', 'refused'];
  return [head, ...rows].map((row) => row.map((cell) => cell.padEnd(14)).join('')).join('\n');
}
