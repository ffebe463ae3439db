import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Exchange } from './exchange.ts';
import { InFlight } from './in-flight.ts';

describe('InFlight', () => {
  it('cuts off those that take too long, in whatever order the others ended', () => {
    vi.useFakeTimers({ now: 0 });
    onTestFinished(() => void vi.useRealTimers());
    const inFlight = new InFlight();
    const cutOff: number[] = [];
    const end = [0, 1, 2, 3, 4].map((each) => {
      vi.setSystemTime(each * 1_000);
      return inFlight.add({ cutOff: () => void cutOff.push(each) } as unknown as Exchange);
    });
    for (const each of [1, 4, 0]) end[each]?.();
    expect(inFlight.size).toBe(2);

    vi.setSystemTime(12_500);
    inFlight.cutOffLongerThan(10_000);
    expect(cutOff).toEqual([2]);
    end[2]?.();
    vi.setSystemTime(20_000);
    inFlight.cutOffLongerThan(10_000);
    expect(cutOff).toEqual([2, 3]);
    end[3]?.();
    expect(inFlight.size).toBe(0);
  });

  it('may be changed by those that it cuts off', () => {
    vi.useFakeTimers({ now: 0 });
    onTestFinished(() => void vi.useRealTimers());
    const inFlight = new InFlight();
    for (let i = 0; i < 3; i++) {
      const end = inFlight.add({ cutOff: () => end() } as unknown as Exchange);
    }
    vi.setSystemTime(2);
    inFlight.cutOffLongerThan(1);
    expect(inFlight.size).toBe(0);
  });
});
