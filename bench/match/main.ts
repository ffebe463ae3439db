import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { KubernetesNode } from '../../src/domain/kubernetes.ts';
import { trimNode } from '../../src/domain/trim-node.ts';
import { firstLineOf, goModuleVersion, keepResults, writeSection } from '../results.ts';
import { runBench } from '../run.ts';
import { type Costs, costsOf } from './costs.ts';
import { type BenchPod, makeNodes, makePods, POD_KINDS } from './input.ts';
import { PEER, type Peer, startPeer } from './peer.ts';
import { plot } from './plot.ts';
import { missedGoals, report } from './report.ts';
import { createOurs, type Ours, WAY_NAMES, type Way } from './ways.ts';

/**
 * How long it takes to find the nodes of one workload, and of 500: IPS beside the library that kube-scheduler's plugins
 * are made of, in one run, on the same pods and nodes, in turns, each in one thread.
 */

export type Side = Way | 'scheduler';
/** `what`: `500 workloads`, or the kind of the one pod. */
export type Result = {
  side: Side;
  round: number;
  nodes: number;
  what: string;
  nanoseconds: number;
  matches: number;
};

const ROOT = join(import.meta.dirname, '../..');
const SIZES = [10, 100, 1_000, 5_000];
const WORKLOADS = 500;
const SEED = 1;
/** Of one measurement, in pods times nodes: short ones are made often, so that a clock can tell them. */
const WORK = 200_000;
const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    /** A look only: nothing is written, no goal is judged. */
    look: { type: 'boolean', default: false },
  },
});
const rounds = Number(flags.rounds);
const say = (line: string) => console.error(`• ${line}`);

let folder = '';
let peer: Peer | undefined;
await runBench(bench, end);

async function end(): Promise<void> {
  await peer?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
}

async function bench(): Promise<void> {
  const nodes = makeNodes(Math.max(...SIZES), SEED);
  const pods = makePods(WORKLOADS, nodes, SEED);
  say('what it costs IPS');
  const costs: Costs[] = [];
  for (const count of SIZES) costs.push(await costsOf(count, pods, SEED));
  folder = await mkdtemp(join(tmpdir(), 'ips-bench-'));
  const text = JSON.stringify(nodes);
  await writeFile(join(folder, 'nodes.json'), text);
  await writeFile(join(folder, 'pods.json'), JSON.stringify(pods));
  say('building what stands on the scheduler’s library');
  peer = await startPeer(folder);
  const results = await compare(peer, text, pods);
  console.log(report(results, costs));
  if (flags.look) return;
  await keep(results, costs);
  await writeFile(join(ROOT, 'docs/match.svg'), plot(results, costs));
  await writeSection(join(ROOT, 'docs/performance.md'), 'match', report(results, costs));
  for (const goal of missedGoals(results, costs)) {
    console.log(`goal missed: ${goal}`);
    process.exitCode = 1;
  }
}

async function compare(other: Peer, text: string, pods: BenchPod[]): Promise<Result[]> {
  const ours = createOurs(takenIn(text), pods);
  const single = POD_KINDS.map((kind) => ({
    what: kind,
    asked: [pods.findIndex(({ metadata }) => metadata.labels.kind === kind)],
  }));
  const questions = [...single, { what: `${WORKLOADS} workloads`, asked: [...pods.keys()] }];
  const results: Result[] = [];
  // The first is not counted: code gets compiled, heaps get their size.
  for (let round = 0; round <= rounds; round += 1) {
    say(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
    for (const count of SIZES)
      for (const { what, asked } of questions) {
        const measured = await inTurns(other, ours, { nodes: count, pods: asked }, round);
        if (round > 0) results.push(...measured.map((each) => ({ ...each, round, nodes: count, what })));
      }
  }
  return results;
}

/** As whatever reads nodes has them, be it the controller or `ips plan`; the peer's JSON decoder keeps what its types hold. */
function takenIn(text: string): KubernetesNode[] {
  return (JSON.parse(text) as KubernetesNode[]).map(trimNode);
}

/** In another order in each round: who comes later on a machine must not always be the same. */
async function inTurns(
  other: Peer,
  ours: Ours,
  asked: { nodes: number; pods: number[] },
  round: number,
): Promise<Pick<Result, 'side' | 'nanoseconds' | 'matches'>[]> {
  const repeat = Math.max(1, Math.round(WORK / (asked.nodes * asked.pods.length)));
  const sides: Side[] = ['scheduler', ...WAY_NAMES];
  const measured = [];
  let hash: string | undefined;
  for (const [place] of sides.entries()) {
    const side = sides[(place + round) % sides.length] ?? 'scheduler';
    const question = { ...asked, repeat };
    const answer = side === 'scheduler' ? await other.ask(question) : ours.ask(side, question);
    hash ??= answer.hash;
    if (answer.hash !== hash)
      throw new Error(`${side} finds other nodes of ${asked.nodes} for pods ${asked.pods}`);
    measured.push({ side, nanoseconds: answer.nanoseconds / repeat, matches: answer.count });
  }
  return measured;
}

async function keep(results: Result[], costs: Costs[]): Promise<void> {
  const file = await keepResults('match', {
    command: `make bench-match ROUNDS=${rounds}`,
    versions: {
      go: await firstLineOf('go', ['env', 'GOVERSION']),
      componentHelpers: await goModuleVersion(PEER, 'k8s.io/component-helpers'),
    },
    data: { seed: SEED, results, costs },
  });
  say(`kept as ${file}`);
}
