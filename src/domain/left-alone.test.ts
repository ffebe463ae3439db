import { describe, expect, it } from 'vitest';
import { COLLECTED } from './left-alone.ts';
import { hopeless, type Simulation, START, simulateTask, timeAfter } from './task-progress.simulation.ts';

const APP = 'app:1';
const BASE = 'base:2';
const TEN_MINUTES = 600;

/** Both nodes are warm, and their status says so. */
function warmTask(images = [APP]): Simulation {
  const sim = simulateTask({ images, nodes: ['n1', 'n2'] });
  sim.warmUp();
  for (const node of ['n1', 'n2']) sim.report(node);
  sim.look();
  expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '2/2' });
  return sim;
}

function collect(sim: Simulation, node: string, image: string): void {
  sim.collect(node, image);
  sim.report(node);
}

/** Brought back, as the node's status tells. */
function warmAgain(sim: Simulation, node: string): void {
  sim.cut();
  sim.end(node);
  sim.look();
  sim.report(node);
  sim.look();
}

function cold(sim: Simulation): (string | undefined)[] {
  return sim.look().cold.map(({ metadata }) => metadata.name);
}

describe('a node that lost an image to its kubelet', () => {
  it('is warmed again at once the first time, and left alone for ten minutes the second', () => {
    const sim = warmTask();
    collect(sim, 'n1', APP);
    expect(cold(sim)).toEqual(['n1']);
    warmAgain(sim, 'n1');
    expect(sim.status()).toMatchObject({ phase: 'Warm', collected: [{ times: 1 }] });
    sim.pass(60);
    collect(sim, 'n1', APP);
    expect(sim.look()).toMatchObject({ cold: [] });
    const until = sim.status().retryAt ?? '';
    expect(Date.parse(until)).toBeGreaterThanOrEqual(sim.nowMs() + TEN_MINUTES * 1000);
    expect(Date.parse(until)).toBeLessThanOrEqual(sim.nowMs() + 1.1 * TEN_MINUTES * 1000);
    expect(sim.status()).toMatchObject({
      phase: 'PartiallyFailed',
      progress: '1/2',
      nodes: { eligible: 2, warm: 1, warming: 0, failed: 1 },
      message: `${APP}: ${COLLECTED} on n1, the disk is too small; next try at ${until}`,
      failureCount: 1,
      failures: [{ node: 'n1', image: APP, reason: COLLECTED, time: timeAfter(60) }],
    });
    sim.pass(TEN_MINUTES / 2);
    expect(cold(sim)).toEqual([]);
    sim.pass(TEN_MINUTES);
    expect(cold(sim)).toEqual(['n1']);
    expect(sim.status()).not.toHaveProperty('failures');
    expect(sim.status()).not.toHaveProperty('retryAt');
    warmAgain(sim, 'n1');
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '2/2' });
  });

  it('is counted each time that it is left alone, and once', () => {
    const sim = warmTask();
    const backedOff: number[] = [];
    for (let time = 0; time < 3; time += 1) {
      collect(sim, 'n1', APP);
      backedOff.push(sim.look().backedOff, sim.look().backedOff);
      sim.pass(3600);
      sim.look();
      warmAgain(sim, 'n1');
    }
    // What `look` gives has been recorded by the look before where nothing changed in between.
    expect(backedOff).toEqual([0, 0, 1, 0, 1, 0]);
  });

  it('is warm as soon as the image is there again, whoever brought it', () => {
    const sim = warmTask();
    collect(sim, 'n1', APP);
    warmAgain(sim, 'n1');
    collect(sim, 'n1', APP);
    sim.look();
    expect(sim.status().phase).toBe('PartiallyFailed');
    sim.report('n1', APP);
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', collected: [{ times: 2 }] });
    expect(sim.status()).not.toHaveProperty('failures');
    expect(sim.status()).not.toHaveProperty('retryAt');
  });

  it('is another one when it was made anew under its name', () => {
    const sim = warmTask();
    collect(sim, 'n1', APP);
    warmAgain(sim, 'n1');
    collect(sim, 'n1', APP);
    expect(cold(sim)).toEqual([]);
    sim.leave('n1');
    sim.join('n1');
    expect(cold(sim)).toEqual(['n1']);
    expect(sim.status()).not.toHaveProperty('collected');
  });

  it('is known by what was brought to it, also where its kubelet never listed that', () => {
    const sim = warmTask();
    collect(sim, 'n1', APP);
    sim.look();
    sim.cut();
    sim.end('n1');
    sim.look();
    // Collected before the next report.
    sim.collect('n1', APP);
    sim.pass(100);
    sim.report('n1');
    expect(cold(sim)).toEqual([]);
    expect(sim.status()).toMatchObject({ phase: 'PartiallyFailed', collected: [{ times: 2 }] });
  });

  it('lost nothing where its list of images was cut off', () => {
    const sim = warmTask();
    sim.cutList('n1');
    expect(cold(sim)).toEqual(['n1']);
    expect(sim.status()).not.toHaveProperty('collected');
  });

  it('does not keep another from being warmed, nor its failure from being tried again', () => {
    const sim = warmTask([APP, BASE]);
    collect(sim, 'n1', APP);
    warmAgain(sim, 'n1');
    collect(sim, 'n1', APP);
    sim.look();
    sim.join('n3');
    expect(cold(sim)).toEqual(['n3']);
    sim.warmUp(hopeless(BASE));
    expect(sim.status()).toMatchObject({
      phase: 'PartiallyFailed',
      waits: 1,
      retryAt: timeAfter(30),
      failures: [
        { node: 'n3', image: BASE },
        { node: 'n1', image: APP },
      ],
    });
    sim.pass(30);
    expect(cold(sim)).toEqual(['n3']);
    sim.warmUp();
    expect(sim.status()).toMatchObject({ phase: 'PartiallyFailed', nodes: { warm: 2, failed: 1 } });
    expect(sim.status().failures).toMatchObject([{ node: 'n1', image: APP, time: START }]);
  });

  it('is one of fifty that are listed, however many there are', () => {
    const nodes = Array.from({ length: 70 }, (_, index) => `n${index}`);
    const sim = simulateTask({ images: [APP], nodes });
    for (let time = 0; time < 2; time += 1) {
      while (sim.look().cold.length > 0) sim.warmUp();
      for (const node of nodes) sim.report(node);
      sim.look();
      for (const node of nodes) collect(sim, node, APP);
    }
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Failed', nodes: { failed: 70 }, failureCount: 50 });
    expect(sim.status().failures).toHaveLength(50);
    for (const node of nodes) sim.report(node, APP);
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm' });
    expect(sim.status()).not.toHaveProperty('failureCount');
  });
});
