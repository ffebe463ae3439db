import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { REDIS_SERVER } from './cluster/redis.ts';
import { run } from './cluster/run.ts';
import { sandboxObstacle } from './cluster/sandbox.ts';

/**
 * Runs the test suites that are named and ends with one line that counts them all. A suite that this machine cannot
 * run is said so loudly and counted as skipped, never as passed; in CI a skip is a failure.
 */

type Count = { passed: number; failed: number; skipped: number };

const ROOT = join(import.meta.dirname, '..');
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');
const total: Count = { passed: 0, failed: 0, skipped: 0 };

/** What failed and why, for the end: whoever sees only the last lines of a long run has to see it too. */
const failures: string[] = [];

/** The parts of vitest's JSON report that are in use. */
type Report = {
  numPassedTests?: number;
  numFailedTests?: number;
  numPendingTests?: number;
  numTodoTests?: number;
  testResults?: {
    name: string;
    message?: string;
    assertionResults: { fullName: string; status: string; failureMessages?: string[] }[];
  }[];
};

/** What asks why a suite cannot run on this machine; undefined when it can. */
const OBSTACLES: Record<string, () => Promise<string | undefined>> = {
  e2e: clusterObstacle,
  chaos: clusterObstacle,
  oracle: goObstacle,
  conformance: redisObstacle,
};

/** Arguments with a slash are files, and only their tests run. */
const files = process.argv.slice(2).filter((each) => each.includes('/'));

for (const suite of process.argv.slice(2).filter((each) => !files.includes(each))) {
  const obstacle = await OBSTACLES[suite]?.();
  const count = obstacle ? await skipSuite(suite, obstacle) : await runSuite(suite);
  total.passed += count.passed;
  total.failed += count.failed;
  total.skipped += count.skipped;
}

const skippedInCi = process.env['CI'] !== undefined && total.skipped > 0;
for (const failure of failures) console.log(`\nFAILED ${failure}`);
if (skippedInCi) console.log('In CI every test has to run: a skip is a failure.');
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || skippedInCi || total.passed === 0 ? 1 : 0;

async function runSuite(suite: string): Promise<Count> {
  const folder = await mkdtemp(join(tmpdir(), 'ips-test-'));
  const report = join(folder, 'report.json');
  try {
    const args = [
      VITEST,
      'run',
      '--project',
      suite,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
      ...files,
    ];
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'inherit' });
    const [code] = (await once(child, 'exit')) as [number | null];
    const text = await readFile(report, 'utf8').catch(() => '{}');
    const result = JSON.parse(text) as Report;
    const { numPassedTests = 0, numFailedTests = 0, numPendingTests = 0, numTodoTests = 0 } = result;
    failures.push(...failuresOf(result));
    // A suite that could not even start, or a file that failed outside its tests, has no failed test to show for it.
    const failed = code === 0 ? numFailedTests : Math.max(1, numFailedTests);
    return { passed: numPassedTests, failed, skipped: numPendingTests + numTodoTests };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function failuresOf({ testResults = [] }: Report): string[] {
  return testResults.flatMap(({ name, message, assertionResults }) => {
    const file = relative(ROOT, name);
    const failed = assertionResults.filter(({ status }) => status === 'failed');
    if (failed.length === 0 && message) return [`${file}\n${message}`];
    return failed.map(
      ({ fullName, failureMessages = [] }) => `${file} > ${fullName}\n${ownLines(failureMessages)}`,
    );
  });
}

/** Without the lines of the stack that are in libraries: they say nothing about a test. */
function ownLines(messages: string[]): string {
  return messages
    .join('\n')
    .split('\n')
    .filter((line) => !line.includes('/node_modules/'))
    .join('\n');
}

async function skipSuite(suite: string, obstacle: string): Promise<Count> {
  const listed = await run(process.execPath, [VITEST, 'list', '--project', suite], { cwd: ROOT });
  const skipped = listed.split('\n').filter((line) => line.includes(' > ')).length;
  console.log(`\n!!! SKIPPED: the ${skipped} ${suite} tests cannot run on this machine: ${obstacle}\n`);
  return { passed: 0, failed: 0, skipped };
}

/** Why no real cluster can run here; undefined when one can. Missing packages are installed first where that is possible. */
async function clusterObstacle(): Promise<string | undefined> {
  return (await sandboxObstacle()) ?? packagesObstacle();
}

async function packagesObstacle(): Promise<string | undefined> {
  const needs = spawn(join(ROOT, 'scripts/cluster-needs.sh'), { stdio: ['ignore', 'inherit', 'pipe'] });
  let told = '';
  needs.stderr.on('data', (chunk: Buffer) => {
    told += chunk;
    process.stderr.write(chunk);
  });
  const [code] = (await once(needs, 'close')) as [number | null];
  return code === 0 ? undefined : told.trim();
}

/** Why no real Redis server can run here. What a cluster needs has it too, and is not waited for where it is there. */
async function redisObstacle(): Promise<string | undefined> {
  return existsSync(REDIS_SERVER) ? undefined : packagesObstacle();
}

async function goObstacle(): Promise<string | undefined> {
  const found = await run('go', ['version']).catch(() => undefined);
  return found
    ? undefined
    : 'Go, which builds the program that asks the library of the scheduler, is not there';
}
