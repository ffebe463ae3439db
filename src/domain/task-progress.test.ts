import { describe, expect, it } from 'vitest';
import type { KubernetesNode } from './kubernetes.ts';
import type { PrewarmTask, PrewarmTaskSpec, PrewarmTaskStatus } from './prewarm-task.ts';
import { hopeless, START, simulateTask, timeAfter, transient } from './task-progress.simulation.ts';
import { cancelledStatus, type Progress, taskProgress, wantedNodes } from './task-progress.ts';
import { LONG_RETRY_SECONDS, nextTryMs, retryDelaySeconds } from './task-tries.ts';

const APP = 'app:1';
const BASE = 'base:2';

function cold(progress: Progress): (string | undefined)[] {
  return progress.cold.map((node) => node.metadata.name);
}

describe('since when a task is cold', () => {
  it('is the moment of the first look, through tries and rounds, until every node has every image', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'], retry: { limit: 0 } });
    sim.look();
    sim.pass(30);
    sim.warmUp(transient(APP));
    expect(sim.status()).toMatchObject({ phase: 'Failed', coldSince: START });
    sim.pass(LONG_RETRY_SECONDS);
    sim.cut();
    expect(sim.status()).toMatchObject({ phase: 'Warming', round: 2, coldSince: START });
    sim.end('n1');
    sim.end('n2');
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm' });
    expect(sim.status()).not.toHaveProperty('coldSince');
  });

  it('begins anew with the next cold node', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.warmUp();
    sim.pass(60);
    sim.join('n2');
    sim.look();
    expect(sim.status().coldSince).toBe(timeAfter(60));
  });

  it('is not told where no node may run it: there is nothing to wait for', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.look();
    sim.cordon('n1');
    sim.look();
    expect(sim.status()).not.toHaveProperty('coldSince');
  });
});

describe('a first round', () => {
  it('waits for its turn while nodes are cold and no batch is cut', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2', 'n3'] });
    const progress = sim.look();
    expect(cold(progress)).toEqual(['n1', 'n2', 'n3']);
    expect(progress).toMatchObject({ running: 0, closed: [], left: new Set() });
    expect(sim.status()).toEqual({
      phase: 'Pending',
      message: 'waiting for its turn',
      progress: '0/3',
      nodes: { eligible: 3, warm: 0, warming: 0, failed: 0 },
      observedGeneration: 1,
      coldSince: START,
      wantsSince: START,
    });
  });

  it('writes a batch down with all that a restart needs to find its Job', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1', 'n2', 'n3'] });
    sim.cut(2);
    expect(sim.status()).toEqual({
      phase: 'Warming',
      progress: '0/3',
      nodes: { eligible: 3, warm: 0, warming: 2, failed: 0 },
      observedGeneration: 1,
      round: 1,
      batch: 1,
      width: 5,
      coldSince: START,
      wantsSince: START,
      startedAt: START,
      batches: [
        expect.objectContaining({
          jobName: 'job-1-1-0',
          round: 1,
          batch: 1,
          attempt: 0,
          nodes: ['n1', 'n2'],
          images: [0, 1],
          startedAt: START,
        }),
      ],
    });
    expect(cold(sim.look())).toEqual(['n3']);
  });

  it('cuts each batch from nodes of one strategy, since all pods of a Job are alike', () => {
    const sim = simulateTask({ images: [APP], nodes: ['old1', 'n1', 'old2', 'n2', 'old3'] });
    const cuts = [sim.cut(2), sim.cut(), sim.cut()];
    expect(cuts.map(({ strategy, nodes }) => [strategy, nodes])).toEqual([
      ['injected-noop', ['old1', 'old2']],
      ['image-volume', ['n1', 'n2']],
      ['injected-noop', ['old3']],
    ]);
    expect(new Set(cuts.map(({ jobName }) => jobName)).size).toBe(3);
    for (const node of cuts.flatMap((batch) => batch.nodes)) sim.end(node);
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '5/5', round: 1 });
  });

  it('writes a batch down so that the next look has nothing to change', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.cut();
    const planned = sim.planned();
    sim.look();
    expect(sim.status()).toEqual(planned);
  });

  it('counts a node as warm, and its token as free, before the batch ends, and the batch as closed once all have', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2', 'n3'] });
    sim.cut();
    sim.end('n2');
    expect(sim.look()).toMatchObject({ running: 2, closed: [], cold: [] });
    expect(sim.status()).toMatchObject({ phase: 'Warming', progress: '1/3', nodes: { warm: 1, warming: 2 } });
    sim.end('n1');
    sim.end('n3');
    sim.pass(7);
    const { closed } = sim.look();
    expect(closed.map(({ batch }) => batch.jobName)).toEqual(['job-1-1-0']);
    expect(closed[0]?.outcomes).toEqual(Array(3).fill({ state: 'ended', warm: [0], failures: [] }));
    expect(sim.status()).toEqual({
      phase: 'Warm',
      progress: '3/3',
      nodes: { eligible: 3, warm: 3, warming: 0, failed: 0 },
      observedGeneration: 1,
      round: 1,
      batch: 1,
      width: 8,
      widthReason: 'widened from 5 to 8: warmed on 3 of 3 nodes',
      startedAt: START,
      finishedAt: timeAfter(7),
      lastWarmedAt: timeAfter(7),
      warmed: [{ images: [0], since: timeAfter(7), nodes: expect.stringMatching(/^[\w-]{18}$/) }],
    });
  });

  it('keeps several batches open, closes each by itself, and numbers them on', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2', 'n3', 'n4'] });
    sim.cut(2);
    expect(sim.cut(1)).toMatchObject({ jobName: 'job-1-2-0', batch: 2, nodes: ['n3'] });
    sim.end('n3');
    const progress = sim.look();
    expect(progress.closed.map(({ batch }) => batch.batch)).toEqual([2]);
    expect(progress.running).toBe(2);
    expect(cold(progress)).toEqual(['n4']);
    expect(sim.status().phase).toBe('Warming');
    expect(sim.cut()).toMatchObject({ jobName: 'job-1-3-0', nodes: ['n4'] });
    for (const node of ['n1', 'n2', 'n4']) sim.end(node);
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '4/4', round: 1, batch: 3 });
  });

  it('does nothing where every image is there already', () => {
    const sim = simulateTask({ images: [APP], nodes: [] });
    sim.join('n1', APP, 'other:1');
    expect(cold(sim.look())).toEqual([]);
    expect(sim.status()).toEqual({
      phase: 'Warm',
      progress: '1/1',
      nodes: { eligible: 1, warm: 1, warming: 0, failed: 0 },
      observedGeneration: 1,
      finishedAt: START,
    });
  });

  it('brings to a batch only what one of its nodes misses', () => {
    const sim = simulateTask({ images: [APP, BASE, 'tool:3'], nodes: [] });
    sim.join('n1', APP, BASE);
    sim.join('n2', 'tool:3', APP);
    expect(sim.cut(1).images).toEqual([2]);
    sim.join('n3', APP);
    expect(sim.cut()).toMatchObject({ nodes: ['n2', 'n3'], images: [1, 2] });
  });

  it('is pending, and not finished, while no node is eligible', () => {
    const sim = simulateTask({ images: [APP], nodes: [] });
    sim.look();
    expect(sim.status()).toEqual({
      phase: 'Pending',
      message: 'no node is eligible',
      progress: '0/0',
      nodes: { eligible: 0, warm: 0, warming: 0, failed: 0 },
      observedGeneration: 1,
    });
    sim.join('n1');
    expect(cold(sim.look())).toEqual(['n1']);
  });

  it('does not change what it is given', () => {
    const status = {
      phase: 'Warming' as const,
      round: 1,
      batch: 1,
      failedNodes: 'aaaaaa',
      failures: [],
      failedImages: [],
      retryAt: START,
      attempt: 1,
      batches: [],
      warmed: [{ images: [0], since: START, nodes: 'bbbbbb' }],
    };
    const task = deepFreeze<PrewarmTask>({
      metadata: { name: 't' },
      spec: { images: [{ image: APP, pullPolicy: 'IfNotPresent' }] },
      status,
    });
    const node = deepFreeze<KubernetesNode>({ metadata: { name: 'n1', uid: 'u1' } });
    const progress = taskProgress({
      task,
      eligible: [node],
      nothingEligible: undefined,
      presence: () => 'absent',
      outcomes: new Map(),
      nowMs: Date.parse(START),
    });
    expect(progress.cold).toEqual([node]);
  });
});

describe('later rounds', () => {
  it('a node that joins opens a round for itself alone', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.warmUp();
    sim.pass(60);
    sim.join('n3');
    expect(cold(sim.look())).toEqual(['n3']);
    expect(sim.status()).toMatchObject({
      phase: 'Pending',
      message: 'waiting for its turn',
      progress: '2/3',
      round: 1,
    });
    expect(sim.cut()).toMatchObject({ jobName: 'job-2-1-0', round: 2, batch: 1, nodes: ['n3'], images: [0] });
    expect(sim.status()).toMatchObject({ phase: 'Warming', startedAt: timeAfter(60) });
    expect(sim.status()).not.toHaveProperty('finishedAt');
    sim.end('n3');
    sim.pass(5);
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '3/3', finishedAt: timeAfter(65) });
  });

  it('a node that joins in the middle of a round becomes part of it', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.cut();
    sim.join('n2');
    expect(sim.cut()).toMatchObject({ jobName: 'job-1-2-0', round: 1, nodes: ['n2'] });
  });

  it('a node that joins with its images opens no round', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.warmUp();
    sim.join('n2', APP);
    expect(cold(sim.look())).toEqual([]);
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '2/2', round: 1 });
  });

  it('a cold node that leaves before its turn leaves no trace of a round', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.warmUp();
    sim.pass(3600);
    sim.join('n2');
    sim.look();
    sim.leave('n2');
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '1/1', round: 1 });
    const { startedAt = '', finishedAt = '' } = sim.status();
    // `Prewarmed … after 3600.0 s` would be told of a round that took none.
    expect(startedAt === '' || Date.parse(finishedAt) - Date.parse(startedAt) < 60_000).toBe(true);
  });

  it('an image that is gone from a node comes back, alone, in a round of its own', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1', 'n2'] });
    sim.warmUp();
    sim.pass(60);
    for (const node of ['n1', 'n2']) sim.report(node);
    expect(cold(sim.look())).toEqual([]);
    sim.pass(3600);
    sim.report('n2', APP);
    expect(cold(sim.look())).toEqual(['n2']);
    expect(sim.cut()).toMatchObject({ round: 2, nodes: ['n2'], images: [1] });
    sim.end('n2');
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '2/2' });
  });

  it('believes that an image is gone only once the list is younger than the warming', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.warmUp();
    sim.pass(89);
    sim.report('n1', 'other:1');
    expect(cold(sim.look())).toEqual([]);
    expect(sim.status().phase).toBe('Warm');
    sim.pass(2);
    sim.report('n1', 'other:1');
    expect(cold(sim.look())).toEqual(['n1']);
  });

  it('keeps its word for nodes whose list is full', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.cutList('n1');
    expect(cold(sim.look())).toEqual(['n1']);
    sim.warmUp();
    sim.pass(86_400);
    sim.cutList('n1');
    expect(cold(sim.look())).toEqual([]);
    expect(sim.status()).toMatchObject({ phase: 'Warm', round: 1 });
  });

  it.each<{ where: string; spec: Partial<PrewarmTaskSpec>; pullPolicy: 'Always' | 'IfNotPresent' }>([
    { where: 'the tag is pulled at every start', spec: {}, pullPolicy: 'Always' },
    { where: 'pull secrets decide', spec: { imagePullSecrets: ['login'] }, pullPolicy: 'IfNotPresent' },
  ])('takes no list for proof where $where, but its own work', ({ spec, pullPolicy }) => {
    const sim = simulateTask({ ...spec, images: [{ image: APP, pullPolicy }], nodes: [] });
    sim.join('n1', APP);
    expect(cold(sim.look())).toEqual(['n1']);
    sim.warmUp();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '1/1' });
    for (const seconds of [60, 3600, 86_400]) {
      sim.pass(seconds);
      sim.report('n1');
      expect(cold(sim.look())).toEqual([]);
    }
    sim.report('n1', 'other:1');
    expect(cold(sim.look())).toEqual(['n1']);
  });
});

describe('an image that no node can pull', () => {
  it('is tried once, left out of later batches, and told, while the other images arrive everywhere', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1', 'n2', 'n3'] });
    sim.cut(1);
    sim.end('n1', hopeless(BASE));
    const first = sim.look();
    expect(first.left).toEqual(new Set([1]));
    expect(cold(first)).toEqual(['n2', 'n3']);
    expect(sim.cut()).toMatchObject({ batch: 2, images: [0] });
    for (const node of ['n2', 'n3']) sim.end(node);
    sim.pass(30);
    sim.look();
    expect(sim.status()).toMatchObject({
      phase: 'PartiallyFailed',
      message: 'base:2: not found on n1, not tried on the others',
      nodes: { eligible: 3, warm: 0, warming: 0, failed: 3 },
      attempt: 0,
      retryAt: timeAfter(60),
      waits: 1,
      finishedAt: timeAfter(30),
      failedImages: [{ image: BASE, reason: 'not found', message: 'base:2: not found' }],
      failures: [{ node: 'n1', image: BASE, reason: 'not found', message: 'base:2: not found', time: START }],
      failureCount: 1,
    });
    expect(sim.status()).not.toHaveProperty('failedNodes');
  });

  it('counts no node as warm that goes without it, not even while the batch is open', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1', 'n2', 'n3'] });
    sim.cut(1);
    sim.end('n1', hopeless(BASE));
    sim.cut();
    sim.end('n2');
    sim.look();
    expect(sim.status()).toMatchObject({ progress: '0/3', nodes: { warm: 0, warming: 1 } });
  });

  it('fails the task where it is the only one, without a try on the other nodes', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.cut(1);
    sim.end('n1', hopeless(APP));
    expect(cold(sim.look())).toEqual([]);
    expect(sim.status()).toMatchObject({
      phase: 'Failed',
      nodes: { eligible: 2, warm: 0, warming: 0, failed: 2 },
    });
  });

  it('changes nothing until half a minute has passed, and is then tried again on one node first, in a new round', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1', 'n2', 'n3'] });
    sim.warmUp(hopeless(BASE));
    const failed = sim.status();
    expect(failed.phase).toBe('PartiallyFailed');
    for (const seconds of [1, 20, 8]) {
      sim.pass(seconds);
      expect(cold(sim.look())).toEqual([]);
      expect(sim.status()).toEqual(failed);
    }
    sim.pass(1);
    const progress = sim.look();
    expect(cold(progress)).toEqual(['n1', 'n2', 'n3']);
    expect(progress.left).toEqual(new Set());
    expect(sim.status()).not.toHaveProperty('failures');
    expect(sim.cut()).toMatchObject({ round: 2, batch: 1, attempt: 0, images: [1], nodes: ['n1'] });
    expect(sim.look()).toMatchObject({ atMost: 0 });
    sim.end('n1');
    expect(sim.cut()).toMatchObject({ round: 2, batch: 2, images: [1], nodes: ['n2', 'n3'] });
    for (const node of ['n2', 'n3']) sim.end(node);
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '3/3' });
    for (const field of [
      'retryAt',
      'attempt',
      'failedImages',
      'failures',
      'failureCount',
      'failedNodes',
      'waits',
    ])
      expect(sim.status()).not.toHaveProperty(field);
  });

  it('is asked for by one node, ever less often, while nobody mends it', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.warmUp(hopeless(APP));
    let elapsed = 0;
    for (const seconds of [30, 60, 120, 300, 600, 600]) {
      expect(sim.status().retryAt).toBe(timeAfter(elapsed + seconds));
      sim.pass(seconds);
      elapsed += seconds;
      expect(sim.warmUp(hopeless(APP)).cold).toEqual([]);
      expect(sim.status()).toMatchObject({
        phase: 'Failed',
        batch: 1,
        nodes: { failed: 2 },
        message: 'app:1: not found on n1, not tried on the others',
      });
    }
    // Mended once, it begins anew with what breaks next.
    sim.pass(600);
    sim.warmUp();
    sim.warmUp();
    expect(sim.status().phase).toBe('Warm');
    sim.join('n3');
    sim.warmUp(hopeless(APP));
    expect(sim.status()).toMatchObject({ waits: 1, retryAt: timeAfter(elapsed + 600 + 30) });
  });

  it('does not bring nodes that used up their tries to try sooner', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1'], retry: { limit: 0 } });
    sim.warmUp(transient(APP), hopeless(BASE));
    expect(sim.status()).toMatchObject({ phase: 'Failed', retryAt: timeAfter(600) });
  });

  it('does not hold up the others where the node that asks fails for reasons of its own', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.warmUp(hopeless(APP));
    sim.pass(30);
    sim.cut();
    sim.end('n1', transient(APP));
    expect(sim.cut()).toMatchObject({ nodes: ['n2'] });
  });

  it('does not hold up the others for longer than a minute where the node that asks hangs', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.warmUp(hopeless(APP));
    sim.pass(30);
    sim.cut();
    sim.pass(59);
    expect(sim.look()).toMatchObject({ atMost: 0 });
    sim.pass(1);
    expect(sim.cut()).toMatchObject({ nodes: ['n2'] });
  });

  it('does not put off the end of the task, by which one without an owner expires', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.pass(5);
    sim.warmUp(hopeless(APP));
    const ended = sim.status().finishedAt;
    for (const seconds of [30, 60, 120, 300]) {
      sim.pass(seconds);
      sim.warmUp(hopeless(APP));
      expect(sim.status()).toMatchObject({ phase: 'Failed', finishedAt: ended });
    }
    sim.pass(600);
    sim.warmUp();
    expect(sim.status()).toMatchObject({
      phase: 'Warm',
      finishedAt: timeAfter(5 + 30 + 60 + 120 + 300 + 600),
    });
  });

  it('does not keep the other images from a node that joins, nor put off its own next try', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1'] });
    sim.warmUp(hopeless(BASE));
    sim.pass(20);
    sim.join('n2');
    expect(sim.cut()).toMatchObject({ round: 2, nodes: ['n2'], images: [0] });
    sim.end('n2');
    sim.look();
    expect(sim.status()).toMatchObject({
      phase: 'PartiallyFailed',
      retryAt: timeAfter(30),
      nodes: { warm: 0, failed: 2 },
    });
  });

  it('is warm where it is already, and the task partly so', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.join('n0', APP);
    sim.warmUp(hopeless(APP));
    expect(sim.status()).toMatchObject({ phase: 'PartiallyFailed', progress: '1/2' });
  });
});

describe('failures that may pass', () => {
  it.each<{ retry: PrewarmTaskSpec['retry']; name: string; delays: number[] }>([
    { name: 'three times, each after twice as long', retry: undefined, delays: [10, 20, 40, 600] },
    { name: 'once', retry: { limit: 1 }, delays: [10, 600] },
    { name: 'not at all', retry: { limit: 0 }, delays: [600] },
    { name: 'linearly', retry: { strategy: 'linear' }, delays: [10, 20, 30, 600] },
    {
      name: 'five times from three seconds',
      retry: { limit: 5, delaySeconds: 3 },
      delays: [3, 6, 12, 24, 48, 600],
    },
    {
      name: 'linearly, twice, from a minute',
      retry: { limit: 2, strategy: 'linear', delaySeconds: 60 },
      delays: [60, 120, 600],
    },
  ])('are tried again $name, and then every ten minutes', ({ retry, delays }) => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'], ...(retry ? { retry } : {}) });
    let elapsed = 0;
    for (const [attempt, delay] of delays.entries()) {
      expect(sim.cut()).toMatchObject({ jobName: `job-1-${attempt + 1}-${attempt}` });
      sim.end('n1', transient(APP));
      expect(cold(sim.look())).toEqual([]);
      expect(sim.status().retryAt).toBe(timeAfter(elapsed + delay));
      expect(sim.status()).toMatchObject({
        phase: attempt < delays.length - 1 ? 'Warming' : 'Failed',
        nodes: { failed: 1 },
      });
      sim.pass(delay - 1);
      expect(cold(sim.look())).toEqual([]);
      sim.pass(1);
      elapsed += delay;
      expect(cold(sim.look())).toEqual(['n1']);
    }
    expect(sim.cut()).toMatchObject({ jobName: 'job-2-1-0' });
  });

  it('are tried again on the nodes where they were, and forgotten when they pass', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1', 'n2', 'n3'] });
    sim.cut();
    sim.end('n1');
    sim.end('n2', transient(BASE));
    sim.end('n3');
    sim.look();
    expect(sim.status()).toMatchObject({
      phase: 'Warming',
      progress: '2/3',
      attempt: 1,
      failureCount: 1,
      message: 'base:2: registry unreachable on n2',
    });
    sim.pass(10);
    expect(sim.cut()).toMatchObject({ attempt: 1, nodes: ['n2'], images: [1] });
    sim.end('n2');
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '3/3', round: 1 });
    for (const field of ['retryAt', 'attempt', 'failures', 'failureCount', 'failedNodes', 'message'])
      expect(sim.status()).not.toHaveProperty(field);
  });

  it('are tried again without the images that are hopeless', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1'] });
    sim.cut();
    sim.end('n1', transient(APP), hopeless(BASE));
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warming', attempt: 1, retryAt: timeAfter(10) });
    sim.pass(10);
    expect(sim.cut()).toMatchObject({ images: [0] });
    expect(sim.status().failures?.map(({ image }) => image)).toEqual([BASE]);
    sim.end('n1');
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'PartiallyFailed', attempt: 0, retryAt: timeAfter(40) });
  });

  it('do not make a node wait where all that it misses is hopeless', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.cut(1);
    sim.end('n1', transient(APP));
    sim.cut(1);
    sim.end('n2', hopeless(APP));
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Failed', attempt: 0, retryAt: timeAfter(600) });
  });

  it('have their own tries when a node joins that waits for nothing hopeless', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1'] });
    sim.warmUp(hopeless(BASE));
    sim.join('n2');
    sim.cut();
    sim.end('n2', transient(APP));
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warming', attempt: 1, retryAt: timeAfter(10) });
  });

  it('have their own tries whichever of two batches of late nodes ends first', () => {
    const sim = simulateTask({ images: [APP, BASE], nodes: ['n1'] });
    sim.warmUp(hopeless(BASE));
    sim.join('n2');
    sim.join('n3');
    sim.cut(1);
    sim.cut(1);
    sim.end('n2', transient(APP));
    sim.look();
    sim.end('n3');
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warming', attempt: 1, retryAt: timeAfter(10) });
  });

  it('do not begin anew for a node that used up its tries, because another one joins', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'], retry: { limit: 1 } });
    sim.warmUp(transient(APP));
    sim.pass(10);
    sim.warmUp(transient(APP));
    expect(sim.status()).toMatchObject({ phase: 'Failed', attempt: 0, retryAt: timeAfter(610) });
    sim.join('n2');
    sim.warmUp();
    expect(sim.status()).toMatchObject({ phase: 'PartiallyFailed', attempt: 0, retryAt: timeAfter(610) });
  });

  it('do not hold back a node that joins while others wait for their next try', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.warmUp(transient(APP));
    sim.join('n2');
    expect(sim.cut()).toMatchObject({ round: 1, batch: 2, attempt: 1, nodes: ['n2'] });
    sim.end('n2');
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warming', progress: '1/2', retryAt: timeAfter(10) });
  });

  it('start from the first try again once all was well', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.warmUp(transient(APP));
    sim.pass(10);
    sim.warmUp();
    sim.join('n2');
    sim.warmUp(transient(APP));
    expect(sim.status()).toMatchObject({ attempt: 1, round: 2, retryAt: timeAfter(20) });
  });

  it('are listed up to fifty, and counted on', () => {
    const nodes = Array.from({ length: 60 }, (_, index) => `n${index + 10}`);
    const sim = simulateTask({ images: [APP], nodes });
    for (const _ of [1, 2]) for (const node of sim.cut(30).nodes) sim.end(node, transient(APP));
    sim.look();
    expect(sim.status()).toMatchObject({ failureCount: 60, nodes: { failed: 60 } });
    expect(sim.status().failures).toHaveLength(50);
    sim.pass(10);
    expect(cold(sim.look())).toHaveLength(60);
  });

  it('are not told as fewer than they are', () => {
    const nodes = Array.from({ length: 60 }, (_, index) => `n${index + 10}`);
    const sim = simulateTask({ images: [APP], nodes });
    for (const _ of [1, 2]) for (const node of sim.cut(30).nodes) sim.end(node, transient(APP));
    sim.look();
    expect(sim.status().message).toContain('registry unreachable');
    expect(sim.status().message).not.toMatch(/on 50 nodes$/);
  });

  it('leave the count of the others as it is when they are tried again', () => {
    const nodes = Array.from({ length: 60 }, (_, index) => `n${index + 10}`);
    const sim = simulateTask({ images: [APP, BASE], nodes });
    const batches = [sim.cut(30), sim.cut(30)];
    for (const node of batches.flatMap((batch) => batch.nodes)) sim.end(node, hopeless(BASE));
    sim.end('n69', hopeless(BASE), transient(APP));
    sim.look();
    expect(sim.status().failureCount).toBe(61);
    sim.pass(10);
    sim.look();
    expect(sim.status().failureCount).toBe(60);
  });
});

describe('a node that a registry with a limit refused', () => {
  const refused = { ...transient(APP), reason: 'rate limited' };

  it('has not failed where others of its batch got through: it is in the next batch, at once', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2', 'n3', 'n4'] });
    sim.cut();
    sim.end('n1');
    for (const node of ['n2', 'n3', 'n4']) sim.end(node, refused);
    expect(cold(sim.look())).toEqual(['n2', 'n3', 'n4']);
    expect(sim.status()).toMatchObject({
      ...{ phase: 'Warming', width: 1, nodes: { warm: 1, failed: 0 } },
      widthReason: 'narrowed from 5 to 1: rate limited on 3 of 4 nodes',
    });
    expect(sim.status()).not.toHaveProperty('failures');
    expect(sim.status()).not.toHaveProperty('retryAt');
  });

  it('has failed, and waits, where none got through', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    expect(cold(sim.warmUp(refused))).toEqual([]);
    expect(sim.status()).toMatchObject({ phase: 'Warming', failureCount: 2, retryAt: timeAfter(10) });
  });

  it('is alone, and after a pause, where a registry does not take even one after the other', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2', 'n3', 'n4'] });
    const beginOne = () => {
      expect(wantedNodes(sim.look(), sim.nowMs())).toBe(1);
      return sim.cut(1).nodes[0] ?? '';
    };
    sim.cut();
    sim.end('n1');
    for (const node of ['n2', 'n3', 'n4']) sim.end(node, refused);
    sim.end(beginOne(), refused);
    expect(wantedNodes(sim.look(), sim.nowMs())).toBe(0);
    expect(sim.status()).toMatchObject({ pauseUntil: timeAfter(1), pressure: { width: 1, pauseSeconds: 1 } });
    expect(nextTryMs(sim.status(), sim.nowMs())).toBe(Date.parse(timeAfter(1)));
    sim.pass(1);
    sim.end(beginOne());
    expect(wantedNodes(sim.look(), sim.nowMs())).toBe(0);
    expect(sim.status()).toMatchObject({ width: 1, pauseUntil: timeAfter(2) });
    sim.pass(60);
    sim.end(beginOne());
    sim.look();
    expect(sim.status()).not.toHaveProperty('pauseUntil');
    expect(sim.status().pressure).not.toHaveProperty('pauseSeconds');
  });

  it('waits from when it failed: while others have their turn, that time goes by', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.cut(1);
    sim.end('n1', transient(APP));
    sim.look();
    sim.cut(1);
    sim.pass(7);
    sim.end('n2');
    sim.look();
    expect(sim.status()).toMatchObject({ attempt: 1, retryAt: timeAfter(10) });
  });
});

describe('the next try', () => {
  it('is the first of what a task waits for', () => {
    const collected = [
      { images: [0], times: 3, retryAt: timeAfter(1200), nodes: 'aaaaaa' },
      { images: [0], times: 2, retryAt: timeAfter(600), nodes: 'bbbbbb' },
      { images: [0], times: 2, retryAt: timeAfter(-1), nodes: 'cccccc' },
      { images: [0], times: 2, forgetAt: timeAfter(5), nodes: 'dddddd' },
    ];
    const next = (status: PrewarmTaskStatus) => nextTryMs(status, Date.parse(START));
    expect(next({ collected })).toBe(Date.parse(timeAfter(600)));
    expect(next({ collected, retryAt: timeAfter(30) })).toBe(Date.parse(timeAfter(30)));
    expect(next({ collected, retryAt: timeAfter(30), pauseUntil: START })).toBe(Date.parse(START));
    expect(next({ retryAt: timeAfter(-1) })).toBeUndefined();
  });
});

describe('the width', () => {
  const nodes = Array.from({ length: 30 }, (_, index) => `n${index + 10}`);

  it('grows with each batch that ends, is kept over rounds, and cut where the registry has enough', () => {
    const sim = simulateTask({ images: [APP], nodes });
    for (const width of [5, 10, 15]) {
      expect(sim.look().width).toBeGreaterThanOrEqual(width);
      for (const node of sim.cut(width).nodes) sim.end(node);
      sim.look();
    }
    expect(sim.status()).toMatchObject({ phase: 'Warm', width: 35 });
    sim.join('late');
    expect(sim.look().width).toBe(35);
    sim.cut();
    sim.end('late', { ...transient(APP), reason: 'rate limited' });
    expect(sim.look().width).toBe(1);
    expect(sim.status()).toMatchObject({
      phase: 'Warming',
      width: 1,
      widthReason: 'narrowed from 35 to 1: rate limited on 1 of 1 nodes',
    });
  });

  it('sinks while no pull succeeds, and starts the next round afresh', () => {
    const sim = simulateTask({ images: [APP], nodes: nodes.slice(0, 3), retry: { limit: 2 } });
    for (const width of [2, 1, 1]) {
      sim.warmUp(transient(APP));
      expect(sim.status().width).toBe(width);
      sim.pass(20);
    }
    expect(sim.status().phase).toBe('Failed');
    sim.pass(600);
    expect(sim.look().width).toBe(5);
    sim.cut();
    expect(sim.status().width).toBe(5);
  });

  it('is what the user set from the first batch on', () => {
    const sim = simulateTask({ images: [APP], nodes, concurrentPulls: 50 });
    expect(sim.look().width).toBe(50);
    sim.cut(20);
    expect(sim.status().width).toBe(50);
  });
});

describe('nodes that change under a batch', () => {
  it('a node that goes is no failure of the task', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.cut();
    sim.leave('n2');
    expect(sim.look()).toMatchObject({ running: 2, closed: [] });
    sim.end('n1');
    sim.end('n2', { image: APP, reason: 'node gone', message: '', hopeless: false });
    sim.look();
    expect(sim.status()).toMatchObject({
      phase: 'Warm',
      progress: '1/1',
      message: 'not warmed: n2 (node gone)',
      failures: [{ node: 'n2', image: APP, reason: 'node gone' }],
      failureCount: 1,
    });
    sim.pass(600);
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '1/1' });
    expect(sim.status()).not.toHaveProperty('failures');
    expect(sim.status()).not.toHaveProperty('message');
  });

  it('a node that comes back under its name is warmed, and no longer told as gone', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.cut();
    sim.leave('n2');
    sim.end('n1');
    sim.end('n2', { image: APP, reason: 'node gone', message: '', hopeless: false });
    sim.look();
    sim.join('n2');
    sim.warmUp();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '2/2' });
    expect(sim.status()).not.toHaveProperty('failures');
  });

  it('when all go, the task is pending', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1'] });
    sim.cut();
    sim.leave('n1');
    sim.end('n1', { image: APP, reason: 'node gone', message: '', hopeless: false });
    sim.look();
    expect(sim.status()).toMatchObject({
      phase: 'Pending',
      message: 'no node is eligible',
      progress: '0/0',
    });
  });

  it('a cordoned node ends its batch, is not counted, and comes back warm', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.cut();
    sim.cordon('n2');
    expect(sim.look().running).toBe(2);
    for (const node of ['n1', 'n2']) sim.end(node);
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '1/1' });
    sim.cordon('n2', false);
    expect(cold(sim.look())).toEqual([]);
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '2/2' });
  });

  it('a node that was made anew under its old name is cold, whatever the old one pulled', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.cut();
    sim.end('n1');
    sim.pass(30);
    sim.join('n1');
    sim.end('n2');
    expect(cold(sim.look())).toEqual(['n1']);
  });

  it('a task does not grow with nodes that come and go', () => {
    const sim = simulateTask({ images: [{ image: APP, pullPolicy: 'Always' }], nodes: ['n1'] });
    sim.warmUp();
    const length = JSON.stringify(sim.status().warmed).length;
    for (const _ of Array(5)) {
      sim.leave('n1');
      sim.join('n1');
      sim.warmUp();
    }
    sim.look();
    expect(JSON.stringify(sim.status().warmed)).toHaveLength(length);
  });

  it('a node that failed, left and came back is cold, not failed', () => {
    const sim = simulateTask({ images: [APP], nodes: ['n1', 'n2'] });
    sim.cut();
    sim.end('n1');
    sim.end('n2', transient(APP));
    sim.look();
    sim.cordon('n2');
    sim.look();
    expect(sim.status()).toMatchObject({ phase: 'Warm', progress: '1/1' });
    sim.cordon('n2', false);
    expect(cold(sim.look())).toEqual(['n2']);
  });
});

it.each<{ retry: PrewarmTaskSpec['retry']; attempt: number; seconds: number }>([
  { retry: undefined, attempt: 1, seconds: 10 },
  { retry: undefined, attempt: 5, seconds: 160 },
  { retry: { strategy: 'exponential', delaySeconds: 7 }, attempt: 3, seconds: 28 },
  { retry: { strategy: 'linear', delaySeconds: 7 }, attempt: 3, seconds: 21 },
])('retryDelaySeconds: $retry, try $attempt comes after $seconds s', ({ retry, attempt, seconds }) => {
  const spec: PrewarmTaskSpec = { images: [], ...(retry ? { retry } : {}) };
  expect(retryDelaySeconds({ metadata: {}, spec }, attempt)).toBe(seconds);
});

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value))
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner);
  return Object.freeze(value);
}

it('a task that is cancelled waits for nothing and wants nothing any more, and what it warmed stays told', () => {
  const waiting = { retryAt: START, coldSince: START, wantsSince: START, pauseUntil: START };
  const status: PrewarmTaskStatus = { ...waiting, batches: [], phase: 'Warming', progress: '1/2' };
  expect(cancelledStatus(status, Date.parse(START))).toEqual({
    ...{ phase: 'Cancelled', progress: '1/2', finishedAt: START },
  });
});
