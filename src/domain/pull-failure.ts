/** Why a pull failed, in a few words for a user. */
export type PullFailure = {
  reason: string;
  message: string;
  /** Does not depend on the node, and trying again soon does not help: the image is left out of what follows. */
  hopeless: boolean;
};

/** In this order: registries wrap one reason in another ("denied: repository does not exist or …"). */
const REASONS: { pattern: RegExp; reason: string; hopeless: boolean }[] = [
  // A blob that this node's containerd has lost; the registry has it.
  { pattern: /content digest.*not found/i, reason: 'content lost on the node', hopeless: false },
  {
    pattern: /toomanyrequests|too many requests|\b429\b|rate limit/i,
    reason: 'rate limited',
    hopeless: false,
  },
  {
    pattern:
      /unauthorized|authorization failed|authentication required|forbidden|denied|no basic auth|\b40[13]\b/i,
    reason: 'unauthorized',
    hopeless: true,
  },
  {
    pattern: /no match for platform|no matching manifest/i,
    reason: 'no variant for this platform',
    hopeless: false,
  },
  {
    pattern: /invalid reference|couldn't parse image|InvalidImageName/i,
    reason: 'invalid name',
    hopeless: true,
  },
  {
    pattern:
      /no such host|connection refused|timeout|deadline exceeded|connection reset|\bEOF\b|\b50[0234]\b/i,
    reason: 'registry unreachable',
    hopeless: false,
  },
  { pattern: /no space left/i, reason: 'disk full', hopeless: false },
  {
    pattern: /not ?found|manifest unknown|name unknown|does not exist/i,
    reason: 'not found',
    hopeless: true,
  },
];

/** Of an image for other machines than the node's; with its architecture where that is known. */
export const NO_VARIANT = 'no variant for ';

/** Evictions by what ran short: the resource of a message, or the node's condition. */
const EVICTIONS: [RegExp, string][] = [
  [/ephemeral|DiskPressure|nodefs|imagefs/i, 'disk pressure'],
  [/memory/i, 'memory pressure'],
  [/\bpids?\b|PIDPressure/i, 'pid pressure'],
];

/** Why a kubelet refused a pod or put it out (`OutOfpods`, `Evicted`), in a user's words. */
export function rejectionReason(reason: string, message: string): string {
  const [, resource] = /^OutOf(.+)$/.exec(reason) ?? [];
  if (resource) return `out of ${resource}`;
  if (reason !== 'Evicted') return reason;
  return EVICTIONS.find(([pattern]) => pattern.test(message))?.[1] ?? 'evicted';
}

/** What else a node may be counted as failed for, where no pull failed: see batch-outcome.ts. */
const OTHER_REASONS = ['pull failed', 'no warmer', 'timed out', 'warmer failed'];

/** The reasons that a metric should have at 0 before the first of them is counted. */
export const USUAL_REASONS: readonly string[] = [...REASONS.map((each) => each.reason), ...OTHER_REASONS];

/** A reason as the label of a metric: without the words that differ from case to case. */
export function reasonKind(reason: string): string {
  if (reason.startsWith(NO_VARIANT)) return `${NO_VARIANT}this platform`;
  return (reason.split(':')[0] ?? '').slice(0, 60);
}

/** Long enough for a registry's own words, short enough for a status. */
const MAX_MESSAGE = 300;

export function classifyPullFailure(message: string): PullFailure {
  const words = withoutNames(message);
  const known = REASONS.find(({ pattern }) => pattern.test(words));
  return {
    reason: known?.reason ?? 'pull failed',
    message: message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message,
    hopeless: known?.hopeless ?? false,
  };
}

/** An image called `rate-limit:429` or `access-denied` says nothing about why it cannot be pulled. */
function withoutNames(message: string): string {
  return message.replace(/"[^"]*"|\S*\/\S*/g, ' ');
}
