import { describe, expect, it } from 'vitest';
import { createServerClock } from './server-clock.ts';

const SERVER_MS = Date.parse('2026-01-01T12:00:00Z');

function clockWith(aheadMs: number) {
  const told: number[] = [];
  const state = { localMs: SERVER_MS + aheadMs, monotonicMs: 1_000 };
  const clock = createServerClock(
    (each) => void told.push(each),
    () => state.localMs,
    () => state.monotonicMs,
  );
  const header = () => new Date(SERVER_MS).toUTCString();
  return { clock, told, state, header };
}

describe('the clock of the API server', () => {
  it.each([-600_000, -6_000, 6_000, 600_000])('is taken where ours is %i ms ahead', (aheadMs) => {
    const { clock, told, header } = clockWith(aheadMs);
    clock.note(header(), 990);
    expect(clock.now().getTime()).toBe(SERVER_MS);
    clock.note(header(), 990);
    expect(told).toEqual([-aheadMs]);
  });

  it.each([-4_900, 0, 4_900])(
    'is ours where they differ by %i ms, which its header does not tell',
    (aheadMs) => {
      const { clock, told, header } = clockWith(aheadMs);
      clock.note(header(), 990);
      expect(clock.now().getTime()).toBe(SERVER_MS + aheadMs);
      expect(told).toEqual([]);
    },
  );

  it('is ours again once that is set right', () => {
    const { clock, told, state, header } = clockWith(600_000);
    clock.note(header(), 990);
    state.localMs = SERVER_MS + 100;
    clock.note(header(), 990);
    expect(clock.now().getTime()).toBe(SERVER_MS + 100);
    expect(told).toEqual([-600_000, 0]);
  });

  it('is not read from an answer that was held up, nor from one that has none', () => {
    const { clock, state, header } = clockWith(30_000);
    state.monotonicMs = 31_000;
    clock.note(header(), 1_000);
    for (const wrong of [null, '', 'soon']) clock.note(wrong, 31_000);
    expect(clock.now().getTime()).toBe(SERVER_MS + 30_000);
  });
});
