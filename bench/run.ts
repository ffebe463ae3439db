/** Runs a benchmark, says what went wrong, and cleans up by `end`, also when it is interrupted. */
export async function runBench(bench: () => Promise<void>, end: () => Promise<void>): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void end().then(() => process.exit(130)));
  try {
    await bench();
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  } finally {
    await end();
  }
}
