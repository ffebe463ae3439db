import { parseArgs } from 'node:util';
import { fuzz, grewTooMuch } from './fuzz.ts';

/** `make fuzz`: asks admission whatever a grammar of reviews comes to, and says how to ask the same again. */

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
const seconds = Number(values.seconds || 600);
const seed = Number(values.seed || Date.now() % 1_000_000_000);
if (!(seconds > 0) || !Number.isSafeInteger(seed)) {
  console.error('SECONDS must be a number over 0, SEED a whole number');
  process.exit(2);
}
console.log(`seed ${seed}, for ${seconds} s`);
let told = 0;
const report = await fuzz({
  seconds,
  seed,
  progress(now) {
    if (now.seconds - told < 30) return;
    told = now.seconds;
    console.log(`${now.cases} cases in ${now.seconds.toFixed(0)} s`);
  },
});
const { cases, results, slowestMs, grownMb, failure } = report;
const rate = (cases / report.seconds).toFixed(0);
console.log(`${cases} cases in ${report.seconds.toFixed(0)} s, ${rate} cases/s`);
console.log(`answers: ${[...results].map(([result, count]) => `${count} ${result}`).join(', ')}`);
console.log(`slowest ${slowestMs.toFixed(1)} ms of CPU, heap grown by ${grownMb.toFixed(1)} MB`);
if (failure) {
  console.log(`FAILED: ${failure.reason}`);
  console.log(`the smallest case: POST ${failure.smallest.path}\n${failure.smallest.body.slice(0, 4000)}`);
  console.log(`again: make fuzz SEED=${failure.seed} SECONDS=1`);
}
if (grewTooMuch(report))
  console.log(`FAILED: the heap grew\nagain: make fuzz SEED=${seed} SECONDS=${seconds}`);
process.exitCode = failure || grewTooMuch(report) ? 1 : 0;
