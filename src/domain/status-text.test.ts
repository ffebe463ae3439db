import { describe, expect, it } from 'vitest';
import type { NodeFailure, PrewarmTaskStatus } from './prewarm-task.ts';
import { progressMessage, statusEvent, statusText } from './status-text.ts';

function failure(node: string, image: string, reason: string): NodeFailure {
  return { node, image, reason, message: 'long words of the registry', time: '2026-01-01T00:00:00.000Z' };
}

function nodes(warm: number, eligible: number): NonNullable<PrewarmTaskStatus['nodes']> {
  return { eligible, warm, warming: 0, failed: 0 };
}

describe('progressMessage', () => {
  it.each<{ what: string; status: PrewarmTaskStatus; nothingEligible?: string; message: string }>([
    { what: 'nothing where all is well', status: { phase: 'Warm' }, message: '' },
    { what: 'nothing of a task that warms', status: { phase: 'Warming' }, message: '' },
    { what: 'what a task waits for', status: { phase: 'Pending' }, message: 'waiting for its turn' },
    {
      what: 'why there is no node before anything else',
      status: { phase: 'Pending', failures: [failure('n1', 'app:1', 'not found')] },
      nothingEligible: 'no node is eligible: node is cordoned (2 nodes)',
      message: 'no node is eligible: node is cordoned (2 nodes)',
    },
    {
      what: 'the node where only one failed',
      status: { phase: 'Failed', failures: [failure('n1', 'app:1', 'not found')] },
      message: 'app:1: not found on n1',
    },
    {
      what: 'a node once that failed twice for the same reason',
      status: {
        phase: 'Warming',
        failures: [failure('n1', 'app:1', 'timed out'), failure('n1', 'app:1', 'timed out')],
      },
      message: 'app:1: timed out on n1',
    },
    {
      what: 'each image and each reason, and on how many nodes',
      status: {
        phase: 'PartiallyFailed',
        failures: [
          failure('n1', 'app:1', 'not found'),
          failure('n2', 'base:2', 'disk full'),
          failure('n3', 'app:1', 'not found'),
          failure('n3', 'app:1', 'disk full'),
        ],
      },
      message: 'app:1: not found on 2 nodes; base:2: disk full on n2; app:1: disk full on n3',
    },
    {
      what: 'five of them, and that there is one more',
      status: {
        phase: 'Failed',
        failures: ['a', 'b', 'c', 'd', 'e', 'f'].map((image) => failure('n1', image, 'x')),
      },
      message: 'a: x on n1; b: x on n1; c: x on n1; d: x on n1; e: x on n1; and 1 more',
    },
    {
      what: 'five of them, and how many more there are',
      status: {
        phase: 'Failed',
        failures: ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((image) => failure('n1', image, 'not found')),
      },
      message:
        'a: not found on n1; b: not found on n1; c: not found on n1; d: not found on n1; e: not found on n1; and 2 more',
    },
  ])('tells $what', ({ status, nothingEligible, message }) => {
    expect(progressMessage(status, nothingEligible)).toBe(message);
  });

  it('is never longer than annotations may be, and of whole characters', () => {
    const message = progressMessage({ phase: 'Pending' }, `x${'🦑'.repeat(100_000)}`);
    expect(message.length).toBeLessThan(10_000);
    expect(message.isWellFormed()).toBe(true);
    expect(message).toMatch(/^x🦑.*…$/u);
  });

  it('tells which nodes are not well, each once, after what failed', () => {
    const failures = [
      failure('n1', 'app:1', 'disk full'),
      failure('n2', 'app:1', 'node gone'),
      failure('n2', 'base:2', 'node gone'),
      failure('n3', 'app:1', 'node is not ready'),
    ];
    const leftOut = new Map([
      ['n3', 'node is not ready'],
      ['n4', 'node is cordoned'],
      ['n5', 'node is cordoned'],
    ]);
    expect(progressMessage({ phase: 'Warming', failures }, undefined, leftOut)).toBe(
      'app:1: disk full on n1; not warmed: 2 nodes (node is cordoned), n2 (node gone), n3 (node is not ready)',
    );
  });
});

describe('statusText', () => {
  it.each<{ status: PrewarmTaskStatus; text: string }>([
    { status: {}, text: 'Pending' },
    { status: { phase: 'Pending', message: 'waiting for its turn' }, text: 'Pending: waiting for its turn' },
    { status: { phase: 'Warming', nodes: nodes(12, 50) }, text: 'Warming 12/50 nodes' },
    { status: { phase: 'Warming', message: 'app:1: disk full on n1' }, text: 'Warming 0/0 nodes' },
    { status: { phase: 'Warm', nodes: nodes(50, 50) }, text: 'Warm 50/50 nodes' },
    { status: { phase: 'Cancelled', nodes: nodes(3, 9) }, text: 'Cancelled 3/9 nodes' },
    {
      status: { phase: 'Failed', nodes: nodes(0, 2), message: 'app:1: not found on 2 nodes' },
      text: 'Failed 0/2 nodes: app:1: not found on 2 nodes',
    },
    {
      status: { phase: 'PartiallyFailed', nodes: nodes(48, 50) },
      text: 'PartiallyFailed 48/50 nodes: see the task',
    },
  ])('says $text', ({ status, text }) => {
    expect(statusText(status)).toBe(text);
  });
});

describe('statusEvent', () => {
  const times = { startedAt: '2026-01-01T00:00:00.000Z', finishedAt: '2026-01-01T00:01:02.340Z' };

  const annotations = (status: string | undefined) => (status ? { 'ips/status': status } : undefined);

  it.each<{ what: string; before?: string; status: PrewarmTaskStatus; images?: number; event: object }>([
    {
      what: 'warming begins',
      before: 'Pending: waiting for its turn',
      status: { phase: 'Warming', nodes: nodes(2, 50) },
      images: 3,
      event: { type: 'Normal', reason: 'Prewarming', message: 'Bringing 3 images to 48 of 50 nodes' },
    },
    {
      what: 'all are warm',
      before: 'Warming 49/50 nodes',
      status: { phase: 'Warm', nodes: nodes(50, 50), ...times },
      event: { type: 'Normal', reason: 'Prewarmed', message: '1 image on 50 of 50 nodes, after 62.3 s' },
    },
    {
      what: 'all are warm after a long time',
      status: { phase: 'Warm', nodes: nodes(1, 1), ...times, finishedAt: '2026-01-01T01:00:00.000Z' },
      event: { type: 'Normal', reason: 'Prewarmed', message: '1 image on 1 of 1 nodes, after 3600.0 s' },
    },
    {
      what: 'all are warm in no time',
      status: { phase: 'Warm', nodes: nodes(1, 1), ...times, finishedAt: times.startedAt },
      event: { type: 'Normal', reason: 'Prewarmed', message: '1 image on 1 of 1 nodes, after 0.0 s' },
    },
    {
      what: 'all are warm without any work',
      status: { phase: 'Warm', nodes: nodes(2, 2), finishedAt: times.finishedAt },
      images: 2,
      event: { type: 'Normal', reason: 'Prewarmed', message: '2 images on 2 of 2 nodes' },
    },
    {
      what: 'some failed',
      before: 'Warming 1/2 nodes',
      status: { phase: 'PartiallyFailed', nodes: nodes(1, 2), message: 'app:1: disk full on n2' },
      event: {
        type: 'Warning',
        reason: 'PrewarmFailed',
        message: 'PartiallyFailed 1/2 nodes: app:1: disk full on n2',
      },
    },
    {
      what: 'all failed',
      before: 'PartiallyFailed 1/2 nodes: app:1: disk full on n2',
      status: { phase: 'Failed', nodes: nodes(0, 2), message: 'app:1: not found on 2 nodes' },
      event: {
        type: 'Warning',
        reason: 'PrewarmFailed',
        message: 'Failed 0/2 nodes: app:1: not found on 2 nodes',
      },
    },
    {
      what: 'somebody cancelled it',
      before: 'Warming 1/2 nodes',
      status: { phase: 'Cancelled', nodes: nodes(1, 2) },
      event: { type: 'Normal', reason: 'PrewarmCancelled', message: 'Cancelled 1/2 nodes' },
    },
    {
      what: 'there is nothing to do it on',
      status: { phase: 'Pending', message: 'no node is eligible' },
      event: { type: 'Warning', reason: 'PrewarmPending', message: 'Pending: no node is eligible' },
    },
    {
      what: 'an annotation of somebody else stood there',
      before: '12 o’clock',
      status: { phase: 'Warm', nodes: nodes(1, 1) },
      event: { type: 'Normal', reason: 'Prewarmed', message: '1 image on 1 of 1 nodes' },
    },
  ])('tells that $what', ({ before, status, images = 1, event }) => {
    expect(statusEvent(annotations(before), status, images)).toEqual(event);
  });

  it.each<{ what: string; before: string; status: PrewarmTaskStatus }>([
    {
      what: 'numbers moved',
      before: 'Warming 1/50 nodes',
      status: { phase: 'Warming', nodes: nodes(30, 50) },
    },
    {
      what: 'a node came and was warm',
      before: 'Warm 2/2 nodes',
      status: { phase: 'Warm', nodes: nodes(3, 3) },
    },
    {
      what: 'it waits for something else',
      before: 'Pending: no node is eligible',
      status: { phase: 'Pending', message: 'waiting for its turn' },
    },
    {
      what: 'another node failed',
      before: 'Failed 0/1 nodes: app:1: not found on n1',
      status: { phase: 'Failed', nodes: nodes(0, 2), message: 'app:1: not found on 2 nodes' },
    },
  ])('is silent where $what', ({ before, status }) => {
    expect(statusEvent(annotations(before), status, 1)).toBeUndefined();
  });

  it('tells the first failure of a round while it is tried again, once', () => {
    const message = 'app:1: rate limited on n1';
    const failure = { node: 'n1', image: 'app:1', reason: 'rate limited', message: '', time: '' };
    const status: PrewarmTaskStatus = { phase: 'Warming', nodes: nodes(1, 2), message, failures: [failure] };
    const before = annotations('Warming 0/2 nodes');
    expect(statusEvent(before, status, 1)).toEqual({
      type: 'Warning',
      reason: 'PrewarmRetrying',
      message: 'Warming 1/2 nodes: app:1: rate limited on n1',
    });
    expect(statusEvent({ ...before, 'ips/message': 'app:1: disk full on n1' }, status, 1)).toBeUndefined();
  });
});
