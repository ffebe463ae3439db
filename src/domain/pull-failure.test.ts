import { describe, expect, it } from 'vitest';
import { classifyPullFailure, reasonKind, rejectionReason } from './pull-failure.ts';

/** What the kubelet says of an image after its name, with containerd's words for the way there. */
function resolving(reference: string, failure: string): string {
  return `rpc error: code = Unknown desc = failed to pull and unpack image "${reference}": failed to resolve reference "${reference}": ${failure}`;
}

const APP = 'docker.io/team/app:1';

describe('classifyPullFailure', () => {
  it.each<{ what: string; message: string; reason: string; hopeless: boolean }>([
    {
      what: 'a tag that does not exist (containerd)',
      message: `rpc error: code = NotFound desc = failed to pull and unpack image "${APP}": failed to resolve reference "${APP}": ${APP}: not found`,
      reason: 'not found',
      hopeless: true,
    },
    {
      what: 'a tag that does not exist (CRI-O)',
      message: `reading manifest 1 in ${APP}: manifest unknown`,
      reason: 'not found',
      hopeless: true,
    },
    {
      what: 'a repository that Docker Hub does not show',
      message: resolving(
        APP,
        'pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed',
      ),
      reason: 'unauthorized',
      hopeless: true,
    },
    {
      what: 'a wrong password',
      message: resolving(
        APP,
        'failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized',
      ),
      reason: 'unauthorized',
      hopeless: true,
    },
    {
      what: 'a right password that is not enough',
      message: resolving(APP, 'unexpected status from HEAD request to https://registry/v2/: 403 Forbidden'),
      reason: 'unauthorized',
      hopeless: true,
    },
    {
      what: 'ECR without credentials',
      message: resolving(
        APP,
        'pulling from host 1.dkr.ecr.eu-west-1.amazonaws.com failed: no basic auth credentials',
      ),
      reason: 'unauthorized',
      hopeless: true,
    },
    {
      what: 'a name that is none',
      message: `Failed to apply default image tag "A:1": couldn't parse image name "A:1": invalid reference format`,
      reason: 'invalid name',
      hopeless: true,
    },
    {
      what: 'an image without a variant for the node, which another node may have',
      message: `failed to pull and unpack image "${APP}": no match for platform in manifest: not found`,
      reason: 'no variant for this platform',
      hopeless: false,
    },
    {
      what: 'a rate limit, though it speaks of authorization',
      message: resolving(
        APP,
        'unexpected status: 429 Too Many Requests - toomanyrequests: You have reached your unauthenticated pull rate limit',
      ),
      reason: 'rate limited',
      hopeless: false,
    },
    {
      what: 'a registry whose name is not known, though it is not found',
      message: resolving(APP, 'dial tcp: lookup registry.invalid on 10.0.0.10:53: no such host'),
      reason: 'registry unreachable',
      hopeless: false,
    },
    {
      what: 'a registry that is down',
      message: resolving(APP, 'dial tcp 10.0.0.7:5000: connect: connection refused'),
      reason: 'registry unreachable',
      hopeless: false,
    },
    {
      what: 'a network that is slow',
      message: resolving(APP, 'dial tcp 10.0.0.7:443: i/o timeout'),
      reason: 'registry unreachable',
      hopeless: false,
    },
    {
      what: 'a registry that is broken',
      message: resolving(
        APP,
        'unexpected status from HEAD request to https://registry/v2/: 503 Service Unavailable',
      ),
      reason: 'registry unreachable',
      hopeless: false,
    },
    {
      what: 'a registry that fails and says no more',
      message: 'pulling image: received unexpected HTTP status: 504',
      reason: 'registry unreachable',
      hopeless: false,
    },
    {
      what: 'a registry that forbids and says no more',
      message: 'pulling image: received unexpected HTTP status: 403',
      reason: 'unauthorized',
      hopeless: true,
    },
    {
      what: 'a connection that broke',
      message: `failed to copy: httpReadSeeker: failed open: failed to do request: Get "https://registry/v2/": EOF`,
      reason: 'registry unreachable',
      hopeless: false,
    },
    {
      what: 'a full disk',
      message: `failed to extract layer sha256:ab: write /var/lib/containerd/x: no space left on device`,
      reason: 'disk full',
      hopeless: false,
    },
    { what: 'what nobody foresaw', message: 'the moon is full', reason: 'pull failed', hopeless: false },
    { what: 'nothing at all', message: '', reason: 'pull failed', hopeless: false },
  ])('knows $what', ({ message, reason, hopeless }) => {
    expect(classifyPullFailure(message)).toEqual({ reason, message, hopeless });
  });

  it.each<{ what: string; reference: string; failure: string; reason: string }>([
    {
      what: 'a tag that looks like a status',
      reference: 'registry.example/app:build-401',
      failure: 'dial tcp 10.0.0.7:443: i/o timeout',
      reason: 'registry unreachable',
    },
    {
      what: 'a version that looks like a status',
      reference: 'registry.example/app:1.403.0',
      failure: 'unexpected status from HEAD request: 502 Bad Gateway',
      reason: 'registry unreachable',
    },
    {
      what: 'a repository called for what it does',
      reference: 'registry.example/team/access-denied-page:1',
      failure: 'dial tcp 10.0.0.7:443: connect: connection refused',
      reason: 'registry unreachable',
    },
    {
      what: 'a repository that limits rates',
      reference: 'registry.example/envoy/rate-limit:429',
      failure: `registry.example/envoy/rate-limit:429: not found`,
      reason: 'not found',
    },
    {
      what: 'a repository called notfound',
      reference: 'registry.example/team/notfound:1',
      failure: 'tls: handshake failure',
      reason: 'pull failed',
    },
  ])('does not take $what for the reason', ({ reference, failure, reason }) => {
    expect(classifyPullFailure(resolving(reference, failure)).reason).toBe(reason);
  });

  it('does not give up an image for what only this node has lost', () => {
    // https://github.com/containerd/containerd/issues/3604
    const message = `failed to pull and unpack image "${APP}": failed to unpack image on snapshotter overlayfs: content digest sha256:0c18b88b8db3: not found`;
    expect(classifyPullFailure(message).hopeless).toBe(false);
  });

  it('cuts long messages, after it has read them', () => {
    const { reason, message } = classifyPullFailure(`${'x'.repeat(400)}: manifest unknown`);
    expect(reason).toBe('not found');
    expect(message).toBe(`${'x'.repeat(300)}…`);
    expect(classifyPullFailure('y'.repeat(300)).message).toBe('y'.repeat(300));
  });
});

describe('a pod that the kubelet refused or put out', () => {
  // The kubelet's own words: pkg/kubelet/lifecycle/predicate.go, pkg/kubelet/eviction.
  it.each([
    [
      'OutOfpods',
      "Node didn't have enough resource: pods, requested: 1, used: 110, capacity: 110",
      'out of pods',
    ],
    ['OutOfephemeral-storage', '', 'out of ephemeral-storage'],
    ['Evicted', 'The node had condition: [DiskPressure]. ', 'disk pressure'],
    ['Evicted', 'The node was low on resource: ephemeral-storage. Threshold quantity: 10%', 'disk pressure'],
    ['Evicted', 'The node was low on resource: memory.', 'memory pressure'],
    ['Evicted', 'The node had condition: [PIDPressure]. ', 'pid pressure'],
    ['Evicted', 'Preempted in order to admit critical pod', 'evicted'],
    ['NodeAffinity', 'Predicate NodeAffinity failed', 'NodeAffinity'],
  ])('%s: %s', (reason, message, told) => {
    expect(rejectionReason(reason, message)).toBe(told);
  });

  it('is counted without the words that differ from case to case', () => {
    expect(reasonKind('no variant for arm64')).toBe('no variant for this platform');
    expect(reasonKind('no warmer: exceeded quota: pods')).toBe('no warmer');
    expect(reasonKind('disk pressure')).toBe('disk pressure');
  });
});
