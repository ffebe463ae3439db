import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isOptedIn, parseSettings, type Settings } from './annotations.ts';

const NOTHING: Settings = { excludeContainers: [], extraImages: [], notify: [] };
const KNOWN =
  'ips/prewarm, ips/priority, ips/max-nodes, ips/concurrent-pulls, ips/timeout, ips/retry-limit, ips/retry-strategy, ips/exclude-containers, ips/extra-images, ips/notify';

type Layer = Record<string, string> | undefined;

describe('isOptedIn', () => {
  it.each<{ what: string; workload: Layer; template: Layer; optedIn: boolean }>([
    { what: 'is not where nobody says so', workload: undefined, template: undefined, optedIn: false },
    {
      what: 'is by its own annotation',
      workload: { 'ips/prewarm': 'true' },
      template: undefined,
      optedIn: true,
    },
    {
      what: 'is by its template',
      workload: { other: 'x' },
      template: { 'ips/prewarm': 'true' },
      optedIn: true,
    },
    {
      what: 'is not where its own annotation says no and its template yes',
      workload: { 'ips/prewarm': 'false' },
      template: { 'ips/prewarm': 'true' },
      optedIn: false,
    },
    {
      what: 'is where its own annotation says yes and its template no',
      workload: { 'ips/prewarm': 'true' },
      template: { 'ips/prewarm': 'false' },
      optedIn: true,
    },
    {
      what: 'is not by an empty annotation, which is one all the same',
      workload: { 'ips/prewarm': '' },
      template: { 'ips/prewarm': 'true' },
      optedIn: false,
    },
    {
      what: 'is not by another spelling',
      workload: { 'ips/prewarm': 'True' },
      template: undefined,
      optedIn: false,
    },
    {
      what: 'is not by what it inherits as an object',
      workload: Object.create({ 'ips/prewarm': 'true' }),
      template: undefined,
      optedIn: false,
    },
  ])('a workload $what', ({ workload, template, optedIn }) => {
    expect(isOptedIn(workload, template)).toBe(optedIn);
  });
});

describe('parseSettings', () => {
  it.each<{ annotations: Record<string, string>; settings: Partial<Settings> }>([
    { annotations: {}, settings: {} },
    { annotations: { 'ips/prewarm': 'true', other: '!', 'ips.dev/x': '1' }, settings: {} },
    { annotations: { 'ips/prewarm': 'false' }, settings: {} },
    { annotations: { 'ips/priority': '1' }, settings: { priority: 1 } },
    { annotations: { 'ips/priority': '10' }, settings: { priority: 10 } },
    { annotations: { 'ips/max-nodes': '1' }, settings: { maxNodes: '1' } },
    { annotations: { 'ips/max-nodes': '999999' }, settings: { maxNodes: '999999' } },
    { annotations: { 'ips/max-nodes': '1%' }, settings: { maxNodes: '1%' } },
    { annotations: { 'ips/max-nodes': '100%' }, settings: { maxNodes: '100%' } },
    { annotations: { 'ips/concurrent-pulls': '50' }, settings: { concurrentPulls: 50 } },
    { annotations: { 'ips/timeout': '1s' }, settings: { timeoutSeconds: 1 } },
    { annotations: { 'ips/timeout': '90m' }, settings: { timeoutSeconds: 5400 } },
    { annotations: { 'ips/timeout': '24h' }, settings: { timeoutSeconds: 86_400 } },
    { annotations: { 'ips/timeout': '86400s' }, settings: { timeoutSeconds: 86_400 } },
    { annotations: { 'ips/retry-limit': '0' }, settings: { retryLimit: 0 } },
    { annotations: { 'ips/retry-limit': '5' }, settings: { retryLimit: 5 } },
    { annotations: { 'ips/retry-strategy': 'linear' }, settings: { retryStrategy: 'linear' } },
    { annotations: { 'ips/retry-strategy': 'exponential' }, settings: { retryStrategy: 'exponential' } },
    {
      annotations: { 'ips/exclude-containers': 'proxy, logs ,' },
      settings: { excludeContainers: ['proxy', 'logs'] },
    },
    { annotations: { 'ips/extra-images': 'a:1,b:2' }, settings: { extraImages: ['a:1', 'b:2'] } },
    { annotations: { 'ips/notify': 'team-a' }, settings: { notify: ['team-a'] } },
    { annotations: { 'ips/notify': 'x'.repeat(63) }, settings: { notify: ['x'.repeat(63)] } },
    {
      annotations: { 'ips/status': 'Warm', 'ips/task': 't', 'ips/last-warmed': 'x', 'ips/message': 'y' },
      settings: {},
    },
  ])('reads $annotations', ({ annotations, settings }) => {
    expect(parseSettings(annotations, undefined)).toEqual({
      settings: { ...NOTHING, ...settings },
      warnings: [],
    });
  });

  it.each<{ name: string; value: string; problem: string }>([
    { name: 'ips/prewarm', value: 'yes', problem: 'must be "true" or "false"; not prewarmed' },
    { name: 'ips/priority', value: '0', problem: 'must be a whole number from 1 to 10; ignored' },
    { name: 'ips/priority', value: '11', problem: 'must be a whole number from 1 to 10; ignored' },
    { name: 'ips/priority', value: '5.0', problem: 'must be a whole number from 1 to 10; ignored' },
    { name: 'ips/priority', value: ' 5', problem: 'must be a whole number from 1 to 10; ignored' },
    { name: 'ips/priority', value: '', problem: 'must be a whole number from 1 to 10; ignored' },
    {
      name: 'ips/max-nodes',
      value: '0',
      problem: 'must be a number of nodes, 1 or more, or a percentage from 1% to 100%; ignored',
    },
    {
      name: 'ips/max-nodes',
      value: '101%',
      problem: 'must be a number of nodes, 1 or more, or a percentage from 1% to 100%; ignored',
    },
    {
      name: 'ips/max-nodes',
      value: 'all',
      problem: 'must be a number of nodes, 1 or more, or a percentage from 1% to 100%; ignored',
    },
    { name: 'ips/concurrent-pulls', value: '51', problem: 'must be a whole number from 1 to 50; ignored' },
    {
      name: 'ips/timeout',
      value: '30',
      problem: 'must be a duration from 1s to 24h, such as 90s, 30m or 2h; ignored',
    },
    {
      name: 'ips/timeout',
      value: '25h',
      problem: 'must be a duration from 1s to 24h, such as 90s, 30m or 2h; ignored',
    },
    {
      name: 'ips/timeout',
      value: '86401s',
      problem: 'must be a duration from 1s to 24h, such as 90s, 30m or 2h; ignored',
    },
    {
      name: 'ips/timeout',
      value: '0s',
      problem: 'must be a duration from 1s to 24h, such as 90s, 30m or 2h; ignored',
    },
    {
      name: 'ips/timeout',
      value: '1h30m',
      problem: 'must be a duration from 1s to 24h, such as 90s, 30m or 2h; ignored',
    },
    { name: 'ips/retry-limit', value: '6', problem: 'must be a whole number from 0 to 5; ignored' },
    { name: 'ips/retry-limit', value: '-1', problem: 'must be a whole number from 0 to 5; ignored' },
    { name: 'ips/retry-strategy', value: 'Linear', problem: 'must be "linear" or "exponential"; ignored' },
    { name: 'ips/exclude-containers', value: ' , ', problem: 'is an empty list; ignored' },
    { name: 'ips/extra-images', value: '', problem: 'is an empty list; ignored' },
    { name: 'ips/notify', value: ',', problem: 'is an empty list; ignored' },
  ])('warns of $name: "$value", and goes on without it', ({ name, value, problem }) => {
    expect(parseSettings({ [name]: value, 'ips/notify-x': '' }, undefined)).toEqual({
      settings: NOTHING,
      warnings: [
        `annotation ${name}: "${value}" ${problem}`,
        `annotation ips/notify-x is not known; known are ${KNOWN}`,
      ],
    });
  });

  it('takes the workload before its template, name by name', () => {
    const template = { 'ips/priority': '3', 'ips/timeout': '5m', 'ips/retry-limit': 'x' };
    const workload = { 'ips/priority': '8', 'ips/retry-limit': '1' };
    expect(parseSettings(workload, template)).toEqual({
      settings: { ...NOTHING, priority: 8, timeoutSeconds: 300, retryLimit: 1 },
      warnings: [],
    });
  });

  it('ignores a wrong value on the workload without falling back to its template', () => {
    const { settings, warnings } = parseSettings({ 'ips/priority': 'x' }, { 'ips/priority': '3' });
    expect(settings).toEqual(NOTHING);
    expect(warnings).toHaveLength(1);
  });

  it('quotes sixty characters whole', () => {
    const value = '9'.repeat(60);
    expect(parseSettings({ 'ips/priority': value }, undefined).warnings).toEqual([
      `annotation ips/priority: "${value}" must be a whole number from 1 to 10; ignored`,
    ]);
  });

  it('quotes no more than the beginning of a long value, on one line', () => {
    const value = `${'9'.repeat(59)}\n${'9'.repeat(2_000)}`;
    expect(parseSettings({ 'ips/priority': value }, undefined).warnings).toEqual([
      `annotation ips/priority: "${'9'.repeat(59)}\\n…" must be a whole number from 1 to 10; ignored`,
    ]);
  });

  it.each(['ips/constructor', 'ips/__proto__', 'ips/toString', 'ips/'])('knows no annotation %s', (name) => {
    const annotations = JSON.parse(JSON.stringify({ [name]: 'true' }));
    expect(parseSettings(annotations, undefined).warnings).toEqual([
      `annotation ${name} is not known; known are ${KNOWN}`,
    ]);
  });

  it('never fails on what somebody writes, and keeps to the bounds of the PrewarmTask schema', () => {
    const name = fc.oneof(
      fc.constantFrom(...KNOWN.split(', '), 'ips/__proto__', 'ips/', 'ips/status'),
      fc.string().map((rest) => `ips/${rest}`),
    );
    const value = fc.oneof(
      fc.string(),
      fc.stringMatching(/^[0-9]{1,7}[smh%]?$/),
      fc.stringMatching(/^[a-z0-9:,. ]{0,90}$/),
    );
    fc.assert(
      fc.property(fc.dictionary(name, value), fc.dictionary(name, value), (workload, template) => {
        const { settings, warnings } = parseSettings(workload, template);
        expect(typeof isOptedIn(workload, template)).toBe('boolean');
        expect(settings.priority ?? 1).toSatisfy((n: number) => n >= 1 && n <= 10);
        expect(settings.concurrentPulls ?? 1).toSatisfy((n: number) => n >= 1 && n <= 50);
        expect(settings.timeoutSeconds ?? 1).toSatisfy((n: number) => n >= 1 && n <= 86_400);
        expect(settings.retryLimit ?? 0).toSatisfy((n: number) => n >= 0 && n <= 5);
        expect(settings.maxNodes ?? '1').toMatch(/^([1-9][0-9]{0,5}|[1-9][0-9]?%|100%)$/);
        for (const warning of warnings) expect(typeof warning).toBe('string');
      }),
      { numRuns: 1000 },
    );
  });

  it.each(['007', '0100', '05%'])(
    'takes no number with a leading nought, which the schema refuses: %s',
    (value) => {
      const { settings } = parseSettings({ 'ips/max-nodes': value }, undefined);
      expect(settings.maxNodes ?? '1').toMatch(/^([1-9][0-9]{0,5}|[1-9][0-9]?%|100%)$/);
    },
  );

  it.each<{ what: string; notify: string }>([
    { what: 'more than twenty names', notify: Array.from({ length: 21 }, (_, n) => `team-${n}`).join() },
    { what: 'a name of more than 63 characters', notify: 'x'.repeat(64) },
  ])('takes of ips/notify no more than the schema does: $what', ({ notify }) => {
    const { settings, warnings } = parseSettings({ 'ips/notify': notify }, undefined);
    expect(settings.notify.length).toBeLessThanOrEqual(20);
    for (const name of settings.notify) expect(name.length).toBeLessThanOrEqual(63);
    expect(warnings).toHaveLength(1);
  });
});
