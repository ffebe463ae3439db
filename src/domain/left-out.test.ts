import { describe, expect, it } from 'vitest';
import { groupByReason, noRoom } from './left-out.ts';

describe('groupByReason', () => {
  it('puts the most frequent reasons first', () => {
    const reasons = new Map([
      ['a', 'node is not ready'],
      ['b', 'node is cordoned'],
      ['c', 'node is cordoned'],
    ]);
    expect(groupByReason(reasons)).toEqual([
      { reason: 'node is cordoned', nodes: ['b', 'c'] },
      { reason: 'node is not ready', nodes: ['a'] },
    ]);
  });

  it('takes nodes without room for one group, whatever their figures', () => {
    const reasons = new Map([
      ['a', noRoom('9 GB')],
      ['b', noRoom('8 GB')],
      ['c', noRoom('9 GB')],
    ]);
    expect(groupByReason(reasons)).toEqual([
      { reason: 'no room, such as on a: 9 GB', nodes: ['a', 'b', 'c'] },
    ]);
    reasons.delete('b');
    expect(groupByReason(reasons)).toEqual([{ reason: 'no room: 9 GB', nodes: ['a', 'c'] }]);
  });
});
