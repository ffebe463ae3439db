import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Freezes, startFreezes } from '../freezes.ts';
import { firstLineOf, goModuleVersion, keepResults, writeSection } from '../results.ts';
import { runBench } from '../run.ts';
import { type Means, type Measured, measure, measureCalm, PROTOCOLS, type Protocol } from './load.ts';
import { goalsOf, isJudged, report } from './report.ts';
import { REVIEWS, type Review } from './reviews.ts';
import { checkSameWork } from './same-work.ts';
import { PEER, prepare, SERVERS, type Server, type ServerName, startServer } from './servers.ts';

/**
 * How fast IPS answers admission reviews, beside a Go webhook that does the same work and the least that Node can do:
 * in one run, on the same reviews, in turns, the servers on one core and the load on another.
 */

export type Result = Measured & {
  server: ServerName;
  review: string;
  protocol: Protocol;
  inFlight: number;
  round: number;
  /** Which measurements were made side by side, of those of one round. */
  turn: number;
};

const ROOT = join(import.meta.dirname, '../..');
const PAGE = join(ROOT, 'docs/performance.md');
const SERVER_CORE = '0';
const LOAD_CORE = '1';
/** Some 15,000 requests each: on one core, V8 compiles beside what it measures for some seconds. */
const WARM_UP_MS = 3_000;
/** How often in each round what there are goals for is measured: five samples are few on a machine that others use, too. */
const JUDGED_TURNS = 4;
const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    ms: { type: 'string', default: '700' },
    servers: { type: 'string', default: Object.keys(SERVERS).join() },
    reviews: { type: 'string', default: REVIEWS.map(({ name }) => name).join(';') },
    protocols: { type: 'string', default: Object.keys(PROTOCOLS).join() },
    'in-flight': { type: 'string', default: '1,16,64' },
    /** A look only: nothing is written, no goal is judged. */
    look: { type: 'boolean', default: false },
  },
});
const names = flags.servers.split(',') as ServerName[];
const reviews = REVIEWS.filter(({ name }) => flags.reviews.split(';').includes(name));
const protocols = flags.protocols.split(',') as Protocol[];
const inFlights = flags['in-flight'].split(',').map(Number);

const say = (line: string) => console.error(`• ${line}`);
const servers: Server[] = [];
/** What else went on here. */
const loadBefore = loadavg()[0];
let folder = '';
let freezes: Freezes | undefined;

await runBench(bench, end);

async function end(): Promise<void> {
  await stopServers();
  await freezes?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
}

async function stopServers(): Promise<void> {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
}

async function bench(): Promise<void> {
  // Before what else runs here, where the system lets us: a Linux session is one group to its scheduler.
  if (!flags.look) await writeFile('/proc/self/autogroup', '-20').catch(() => {});
  if (cpus().length < 2) throw new Error('it needs two cores, one for the servers and one for the load');
  folder = await mkdtemp(join(tmpdir(), 'ips-bench-'));
  say('building IPS and the Go webhook');
  await prepare(folder);
  for (const review of reviews) await writeFile(fileOf(review), review.body);
  freezes = await startFreezes();
  const results: Result[] = [];
  for (const protocol of protocols) results.push(...(await allRounds(protocol, freezes)));
  console.log(report(results));
  if (flags.look) return;
  await keep(results);
  await writeSection(PAGE, 'admission', report(results));
  if (goalsOf(results).some(({ met }) => !met)) process.exitCode = 1;
}

/**
 * Each protocol has servers of its own, since an API server keeps to one: what was compiled for streams of HTTP/2 is
 * thrown away when requests of HTTP/1.1 come, and compiled anew for both.
 */
async function allRounds(protocol: Protocol, witness: Freezes): Promise<Result[]> {
  for (const name of names) servers.push(await startServer(name, folder, SERVER_CORE));
  await checkSameWork(servers, reviews);
  const results: Result[] = [];
  // The first is not counted: code gets compiled, heaps get their size.
  for (let round = 0; round <= Number(flags.rounds); round += 1) {
    say(`${protocol}, ${round === 0 ? 'warming up' : `round ${round} of ${flags.rounds}`}`);
    const forMs = round === 0 ? WARM_UP_MS : Number(flags.ms);
    const means = { folder, core: LOAD_CORE, forMs, freezes: witness };
    const measured = await oneRound(protocol, round, means);
    if (round > 0) results.push(...measured);
  }
  await stopServers();
  return results;
}

async function oneRound(protocol: Protocol, round: number, means: Means): Promise<Result[]> {
  const results: Result[] = [];
  for (const [turn, { review, inFlight }] of turnsOf(protocol, round).entries()) {
    const cell = { review: review.name, protocol, inFlight };
    const measureIt = round > 0 && isJudged(cell) ? measureCalm : measure;
    const asked = servers.filter(({ name }) => name !== 'go-diff' || isJudged(cell));
    for (let i = 0; i < asked.length; i += 1) {
      // In another order each time: who comes later on a machine must not always be the same.
      const server = asked[(i + turn + round) % asked.length] as Server;
      const load = { protocol, inFlight, reviewFile: fileOf(review) };
      const measured = await measureIt(server, load, means);
      results.push({ server: server.name as ServerName, ...cell, round, turn, ...measured });
    }
    if (round > 0) say(progress(results.slice(-asked.length)));
  }
  return results;
}

/** What is measured in a round, one after the other. */
function turnsOf(protocol: Protocol, round: number): { review: Review; inFlight: number }[] {
  const loads = round === 0 ? inFlights.slice(-1) : inFlights;
  return reviews.flatMap((review) =>
    loads.flatMap((inFlight) => {
      const isOften = round > 0 && isJudged({ review: review.name, protocol, inFlight });
      return Array.from({ length: isOften ? JUDGED_TURNS : 1 }, () => ({ review, inFlight }));
    }),
  );
}

function progress(of: Result[]): string {
  const [first] = of;
  const rates = of
    .toSorted((a, b) => names.indexOf(a.server) - names.indexOf(b.server))
    .map((each) => `${each.server} ${each.requestsPerSecond.toFixed(0)}/s ${each.cpuMicros.toFixed(0)} µs`);
  return `  ${first?.review}, ${first?.protocol}, ${first?.inFlight} in flight: ${rates.join(', ')}`;
}

function fileOf(review: Review): string {
  return join(folder, `${review.name.replace(/\W+/g, '-')}.json`);
}

async function keep(results: Result[]): Promise<void> {
  const file = await keepResults('admission', {
    command: `make bench-admission ROUNDS=${flags.rounds}`,
    versions: {
      go: await firstLineOf('go', ['env', 'GOVERSION']),
      controllerRuntime: await goModuleVersion(PEER, 'sigs.k8s.io/controller-runtime'),
      load: await firstLineOf('h2load', ['--version']),
    },
    machine: { loadBefore, pinned: `servers to core ${SERVER_CORE}, load to core ${LOAD_CORE}` },
    data: {
      secondsEach: Number(flags.ms) / 1000,
      servers: SERVERS,
      reviews: Object.fromEntries(reviews.map(({ name, about }) => [name, about])),
      results: results.map(rounded),
    },
  });
  say(`kept as ${file}`);
}

function rounded(result: Result): Result {
  const entries = Object.entries(result).map(([name, value]) => [
    name,
    typeof value === 'number' ? Math.round(value * 1000) / 1000 : value,
  ]);
  return Object.fromEntries(entries);
}
