import { expect, test } from 'vitest';
import { fuzz, grewTooMuch } from './fuzz.ts';

const SECONDS = 60;
/** The same cases each time; `make fuzz` takes others. */
const SEED = 20_260_101;

test('a minute of whatever a grammar of reviews comes to is answered as it should be', async () => {
  const report = await fuzz({ seconds: SECONDS, seed: SEED });
  const { failure, results } = report;
  expect(failure && { ...failure, again: `make fuzz SEED=${failure.seed} SECONDS=1` }).toBeUndefined();
  expect(grewTooMuch(report), `the heap grew by ${report.grownMb} MB`).toBe(false);
  // Each kind of answer was among them, or the grammar has lost touch.
  expect([...results.keys()].sort()).toEqual([
    ...['denied', 'invalid', 'labelled', 'pinned', 'unchanged', 'unlabelled'],
  ]);
}, 600_000);
