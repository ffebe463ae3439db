import { describe, expect, it } from 'vitest';
import { createPace, inTurns } from './pace.ts';

describe('createPace', () => {
  it('lets others have their turn in long work', async () => {
    const pace = createPace(1);
    let turns = 0;
    const other = setInterval(() => {
      turns += 1;
    }, 1);
    for (let piece = 0; piece < 20; piece += 1) {
      const untilMs = performance.now() + 5;
      while (performance.now() < untilMs);
      await pace();
    }
    clearInterval(other);
    expect(turns).toBeGreaterThan(5);
  });

  it('does not wait for others in short work', async () => {
    const pace = createPace(60_000);
    let turns = 0;
    setImmediate(() => {
      turns += 1;
    });
    for (let piece = 0; piece < 100; piece += 1) await pace();
    expect(turns).toBe(0);
  });
});

describe('inTurns', () => {
  it('asks for its pace between all parts, and gives what the work comes to', async () => {
    const done: string[] = [];
    function* work() {
      done.push('one');
      yield;
      done.push('two');
      return 'all';
    }
    const pace = async () => {
      done.push('pace');
    };
    await expect(inTurns(work(), pace)).resolves.toBe('all');
    expect(done).toEqual(['one', 'pace', 'two']);
  });
});
