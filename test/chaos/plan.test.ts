import { describe, expect, it } from 'vitest';
import { FAULTS, type Fault, planFaults } from './plan.ts';
import { SHORT } from './short.ts';

const OPTIONS = { forMs: 600_000, replicas: 3, redisServers: 3 };
const seeds = Array.from({ length: 20 }, (_, seed) => seed);
const end = ({ atMs, forMs }: Fault) => atMs + forMs;

describe('a plan of faults', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(planFaults({ ...OPTIONS, seed: 7 })).toEqual(planFaults({ ...OPTIONS, seed: 7 }));
    expect(planFaults({ ...OPTIONS, seed: 7 })).not.toEqual(planFaults({ ...OPTIONS, seed: 8 }));
  });

  it.each(seeds)('of seed %i has every kind, all mended in time, and never two on one victim', (seed) => {
    const faults = planFaults({ ...OPTIONS, seed });
    expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(FAULTS));
    expect(faults.filter((fault) => end(fault) > OPTIONS.forMs)).toEqual([]);
    const onReplicas = faults.filter(({ kind }) => ['kill', 'freeze', 'terminate'].includes(kind));
    for (const [index, fault] of onReplicas.entries()) {
      const before = onReplicas.slice(0, index).filter(({ target }) => target === fault.target);
      expect(before.filter((each) => end(each) > fault.atMs)).toEqual([]);
    }
  });

  it('lets faults overlap', () => {
    const faults = planFaults({ ...OPTIONS, seed: 1 });
    const overlapping = faults.filter((fault, index) =>
      faults.slice(0, index).some((each) => end(each) > fault.atMs),
    );
    expect(overlapping.length).toBeGreaterThan(faults.length / 3);
  });

  it('has every kind in the short run that is one of the tests, too', () => {
    const faults = planFaults({ ...OPTIONS, ...SHORT });
    expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(FAULTS));
  });
});
