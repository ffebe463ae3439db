import { parseArgs } from 'node:util';
import { keepResults } from '../../bench/results.ts';
import { sandboxObstacle } from '../cluster/sandbox.ts';
import { runChaos } from './run.ts';

/** `make chaos`: random faults on three replicas under load, and a look at what must hold whatever dies. */

const { values } = parseArgs({
  options: { seed: { type: 'string' }, minutes: { type: 'string' }, runs: { type: 'string' } },
});
const minutes = Number(values.minutes || 5);
const first = Number(values.seed || Date.now() % 1_000_000_000);
const runs = Number(values.runs || 1);
if (!(minutes > 0) || !Number.isSafeInteger(first) || !(runs > 0)) {
  console.error('MINUTES and RUNS must be numbers over 0, SEED a whole number');
  process.exit(2);
}
const obstacle = await sandboxObstacle();
if (obstacle) {
  console.error(`chaos needs a real cluster, which cannot run here: ${obstacle}`);
  process.exit(1);
}
let [faults, violated] = [0, 0];
for (let seed = first; seed < first + runs; seed += 1) {
  const report = await runChaos({ seed, forMs: minutes * 60_000, say: (line) => console.error(`• ${line}`) });
  const command = `make chaos SEED=${seed} MINUTES=${minutes}`;
  console.log(JSON.stringify(report, undefined, 2));
  console.log(`kept in ${await keepResults('chaos', { command, versions: {}, data: report })}`);
  faults += Object.values(report.faults).reduce((sum, count) => sum + count, 0);
  violated += report.violations.length;
}
console.log(
  `${faults} faults in ${runs} runs, seeds ${first} to ${first + runs - 1}: ${violated} violations`,
);
// Not by itself: with a file open that is gone already, Node may look for the end of its handles for ever.
process.exit(violated > 0 ? 1 : 0);
