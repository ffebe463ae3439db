import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { normalizeImage } from '../../src/domain/image-reference.ts';
import { run } from '../cluster/run.ts';
import { disagreement, streamDisagreement, streamLine } from './compare.ts';
import { imageReferences } from './image-cases.ts';
import { nodeCases } from './node-cases.ts';
import { type Oracle, startOracle } from './oracle.ts';
import { makeVectors, readVectors } from './vectors.ts';

/** Cases that nobody has seen: with a new seed each time, so that what one run misses another may find. */
const SEED = Number(process.env['IPS_TEST_SEED'] || randomInt(2 ** 31));
const CASES = Number(process.env['IPS_ORACLE_CASES'] || 50_000);
/** Where nobody asked for so many, a busy machine may do fewer. */
const AT_MOST_MS = process.env['IPS_ORACLE_CASES'] ? undefined : 20_000;
const AGAIN = `to repeat it: make oracle SEED=${SEED} CASES=${CASES}`;

const IPS = join(import.meta.dirname, '../../bin/ips');

let oracle: Oracle;
beforeAll(async () => {
  console.log(`seed ${SEED}, up to ${CASES} cases; ${AGAIN}`);
  oracle = await startOracle();
});
afterAll(() => oracle.end());

test('the cases of the unit tests are what their seed gives and what the oracle says today', async () => {
  const lines = (await makeVectors(oracle)).trimEnd().split('\n');
  const kept = readVectors().map((vector) => JSON.stringify(vector));
  const wrong = lines.filter((line, index) => line !== kept[index]).slice(0, 3);
  expect(wrong, 'make oracle-vectors writes them anew').toEqual([]);
  expect(kept.length).toBe(lines.length);
});

test('every node is taken or refused as Kubernetes does it', async () => {
  await search(
    fc.asyncProperty(nodeCases, async (asked) => {
      const difference = disagreement(asked, await oracle.refusals(asked));
      if (difference) throw new Error(difference);
    }),
    CASES,
  );
});

test('ips plan --stream takes and leaves out the same nodes', async () => {
  const asked = fc.sample(nodeCases, { seed: SEED, numRuns: Math.min(CASES, 3000) });
  const input = asked.map(streamLine).join('\n');
  const answers = (await run(IPS, ['plan', '--stream'], { input })).trimEnd().split('\n');
  expect(answers.length).toBe(asked.length);
  const wrong: string[] = [];
  for (const [index, each] of asked.entries()) {
    const difference = streamDisagreement(answers[index] ?? '{}', await oracle.refusals(each));
    if (difference) wrong.push(`${difference}\n${JSON.stringify(each)}`);
  }
  wrong.sort((a, b) => a.length - b.length);
  expect(wrong.slice(0, 3), `${wrong.length} of ${asked.length} differ; ${AGAIN}`).toEqual([]);
});

test('every image reference is read as containerd does it', async () => {
  await search(
    fc.asyncProperty(imageReferences, async (image) => {
      const canonical = await oracle.canonical(image);
      const ours = normalizeImage(image);
      if (ours !== canonical) throw new Error(`containerd: ${canonical}, IPS: ${ours}`);
    }),
    Math.ceil(CASES / 5),
  );
});

/** Of all cases that are wrong, the smallest is told, and how to come to it again. */
async function search<T>(property: fc.IAsyncProperty<T>, numRuns: number): Promise<void> {
  const limit = AT_MOST_MS === undefined ? {} : { interruptAfterTimeLimit: AT_MOST_MS };
  const found = await fc.check(property, { seed: SEED, numRuns, ...limit });
  if (!found.failed) return console.log(`${found.numRuns} cases, no difference`);
  const smallest = JSON.stringify(found.counterexample, null, 1);
  const why = found.errorInstance instanceof Error ? found.errorInstance.message : found.errorInstance;
  throw new Error(
    `${why}\nafter ${found.numRuns} cases, made smaller ${found.numShrinks} times:\n${smallest}\n${AGAIN}`,
  );
}
