import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { ImageFailure } from './container-status.ts';
import { hopeless, type Simulation, simulateTask, transient } from './task-progress.simulation.ts';

const IMAGES = ['app:1', 'base:2'];
const NODES = ['n0', 'n1', 'n2'];

type Event =
  | { do: 'join' | 'leave' | 'cordon' | 'uncordon' | 'report' | 'cutList'; node: string }
  | { do: 'collect'; node: string; image: string }
  | { do: 'cut'; count: number }
  | { do: 'end'; nodes: string[]; flaky: string[] }
  | { do: 'pass'; seconds: number };

const node = fc.constantFrom(...NODES);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('join', 'leave', 'cordon', 'uncordon', 'report', 'cutList'),
      node,
    }),
  },
  fc.record({ do: fc.constant('collect'), node, image: fc.constantFrom(...IMAGES) }),
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut'), count: fc.integer({ min: 1, max: 3 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('end'), nodes: fc.subarray(NODES), flaky: fc.subarray(IMAGES) }),
  },
  fc.record({ do: fc.constant('pass'), seconds: fc.constantFrom(1, 10, 40, 100, 600) }),
);

it('whatever happens, the task stays in order, and comes to rest once faults stop', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60, size: 'max' }), fc.subarray(IMAGES), (events, missing) => {
      const sim = simulateTask({ images: IMAGES, nodes: NODES });
      const jobs = new Set<string>();
      for (const each of events) {
        if (each.do === 'cut') cutInOrder(sim, each.count, jobs);
        else if (each.do === 'pass') sim.pass(each.seconds);
        else playOn(sim, each, missing);
        expectOrder(sim);
      }
      settleDown(sim, missing);
      expect(sim.status().phase).toBe(['Warm', 'PartiallyFailed', 'Failed'][missing.length]);
    }),
    { numRuns: 300 },
  );
}, 60_000);

function cutInOrder(sim: Simulation, count: number, jobs: Set<string>): void {
  const { cold, left, atMost } = sim.look();
  if (cold.length === 0 || atMost === 0) return;
  const { jobName, images } = sim.cut(count);
  expect(jobs, 'two batches have one name').not.toContain(jobName);
  jobs.add(jobName);
  expect(images).not.toEqual([]);
  expect(images.filter((index) => left.has(index))).toEqual([]);
}

function playOn(sim: Simulation, event: Exclude<Event, { do: 'cut' | 'pass' }>, missing: string[]): void {
  if (event.do === 'end') {
    const flaky = event.flaky.filter((image) => !missing.includes(image));
    for (const node of event.nodes)
      endWhereOpen(sim, node, [...missing.map(hopeless), ...flaky.map(transient)]);
  } else if (event.do === 'join') {
    if (!sim.has(event.node)) sim.join(event.node);
  } else if (sim.has(event.node)) {
    if (event.do === 'collect') sim.collect(event.node, event.image);
    else if (event.do === 'cordon' || event.do === 'uncordon') sim.cordon(event.node, event.do === 'cordon');
    else sim[event.do](event.node);
  }
}

function openNodes(sim: Simulation): string[] {
  return (sim.status().batches ?? []).flatMap((batch) => batch.nodes);
}

function endWhereOpen(sim: Simulation, node: string, failures: ImageFailure[]): void {
  if (openNodes(sim).includes(node)) sim.end(node, ...failures);
}

/** What must hold at every moment. */
function expectOrder(sim: Simulation): void {
  const cold = sim.look().cold.map((each) => each.metadata.name ?? '');
  const { phase, retryAt, nodes } = sim.status();
  const { eligible = 0, warm = 0, failed = 0 } = nodes ?? {};
  const places = [...openNodes(sim), ...cold];
  expect(new Set(places).size, 'a node is in two places').toBe(places.length);
  expect(warm + failed, 'a node is counted twice').toBeLessThanOrEqual(eligible);
  const moving = places.length > 0;
  switch (phase) {
    case 'Warm':
      expect({ moving, warm, retryAt }).toEqual({ moving: false, warm: eligible });
      break;
    case 'PartiallyFailed':
    case 'Failed':
      expect({ moving, someFailed: failed > 0 }).toEqual({ moving: false, someFailed: true });
      expect(Date.parse(retryAt ?? '')).toBeGreaterThan(sim.nowMs());
      break;
    default:
      expect(moving || retryAt !== undefined || eligible === 0, 'nothing will ever happen').toBe(true);
  }
}

/** No more faults but images that do not exist. What is left to do is done within two tries. */
function settleDown(sim: Simulation, missing: string[]): void {
  if (!sim.has('n0')) sim.join('n0');
  for (const node of NODES) if (sim.has(node)) sim.cordon(node, false);
  for (const _ of ['what is open', 'what is cold', 'what had failed', 'what had failed then']) {
    for (const node of openNodes(sim)) sim.end(node, ...missing.map(hopeless));
    const { cold, atMost } = sim.look();
    if (cold.length > 0 && atMost > 0) sim.cut();
    for (const node of openNodes(sim)) sim.end(node, ...missing.map(hopeless));
    expectOrder(sim);
    sim.pass(600);
  }
}
