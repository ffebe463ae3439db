import { expect, test } from 'vitest';
import { runChaos } from './run.ts';
import { SHORT } from './short.ts';

test('whatever dies, nothing is lost, done twice or left behind', async () => {
  const report = await runChaos({ ...SHORT, say: (line) => console.error(`• ${line}`) });
  expect(report.violations).toEqual([]);
}, 900_000);
