import { describe, expect, it } from 'vitest';
import { addressName, readRedisAddresses, serverCountProblem } from './redis-address.ts';

describe('addresses of Redis servers', () => {
  it.each([
    ['redis-0.redis:6379', { host: 'redis-0.redis', port: 6379, tls: false }],
    ['redis-0', { host: 'redis-0', port: 6379, tls: false }],
    ['10.0.0.1:7000', { host: '10.0.0.1', port: 7000, tls: false }],
    ['redis://a:1', { host: 'a', port: 1, tls: false }],
    ['rediss://a:1', { host: 'a', port: 1, tls: true }],
    ['rediss://[fd00::1]:6380/', { host: 'fd00::1', port: 6380, tls: true }],
  ])('%s is understood', (text, wanted) => {
    expect(readRedisAddresses([text])).toEqual({ addresses: [wanted], problems: [] });
  });

  it.each(['http://a:1', 'a:port', 'redis://a:1/2', 'redis://a:1?db=1', 'redis://', 'a b'])(
    '%j is refused',
    (text) => {
      const { addresses, problems } = readRedisAddresses([text]);
      expect(addresses).toEqual([]);
      expect(problems).toEqual([expect.stringContaining(JSON.stringify(text))]);
    },
  );

  it.each(['redis://user:s3cret@a:1', ':s3cret@a:1', 's3cret@a'])(
    'one with a password is refused without telling it',
    (text) => {
      const { problems } = readRedisAddresses([text]);
      expect(problems).toEqual([expect.stringContaining('REDIS_PASSWORD')]);
      expect(problems.join()).not.toContain('s3cret');
    },
  );

  it('one that is named twice is refused: it would vote twice', () => {
    expect(readRedisAddresses(['a', 'redis://a:6379']).problems).toEqual(['a:6379 is named twice']);
  });

  it('are named as a URL names them', () => {
    expect(addressName({ host: 'fd00::1', port: 1, tls: true })).toBe('[fd00::1]:1');
  });

  it.each([
    [0, undefined],
    [1, undefined],
    [2, 'bear no more failures than 1'],
    [3, undefined],
    [4, 'bear no more failures than 3'],
    [5, undefined],
    [7, '1, 3 or 5 are enough'],
  ])('%i servers', (count, problem) => {
    if (problem === undefined) expect(serverCountProblem(count)).toBeUndefined();
    else expect(serverCountProblem(count)).toContain(problem);
  });
});
