/** The value that the given share of all is not above (nearest rank); NaN of nothing. */
export function percentile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
}

/** One answered request as h2load logs it. */
export type Answered = { startedMicros: number; status: number; tookMicros: number };

/** The log of h2load: a line a request, of start (µs since 1970), status (-1: none) and duration (µs). */
export function readLog(text: string): Answered[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [startedMicros = Number.NaN, status = -1, tookMicros = Number.NaN] = line.split('\t').map(Number);
      return { startedMicros, status, tookMicros };
    });
}

/** What was answered between two points of time, in ms since 1970. */
export function answeredBetween(log: Answered[], fromMs: number, toMs: number): Answered[] {
  return log.filter(({ startedMicros, tookMicros }) => {
    const endedMs = (startedMicros + tookMicros) / 1000;
    return endedMs >= fromMs && endedMs < toMs;
  });
}

/** Of what /proc/PID/stat says: utime and stime, in ticks of 10 ms. The name before them may hold anything. */
export function cpuMillisOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
