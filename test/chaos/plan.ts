import { type Random, seeded } from '../seeded.ts';

/** Which faults come when, the same for the same seed. Pure. */

export const FAULTS = [
  'kill',
  'freeze',
  'terminate',
  'clock',
  'webhook',
  'redis-kill',
  'redis-freeze',
  'redis-flush',
  'redis-away',
  'api-server',
  'black-hole',
] as const;
export type FaultKind = (typeof FAULTS)[number];

export type Fault = {
  kind: FaultKind;
  /** Which replica, or which Redis server; 0 where there is but one. */
  target: number;
  /** From the start of the run. */
  atMs: number;
  /** Until it is mended. */
  forMs: number;
};

export type PlanOptions = {
  seed: number;
  /** Faults begin and end within it. */
  forMs: number;
  replicas: number;
  redisServers: number;
  /** Leaves out the others. */
  kinds?: readonly FaultKind[];
  /** Of how long faults last and how far apart they are: less than 1 for a short run. */
  scale?: number;
};

/** How long each lasts, in seconds: the least and the most. */
const LASTS: Record<FaultKind, [number, number]> = {
  kill: [0.2, 8],
  freeze: [30, 30],
  terminate: [0.2, 8],
  clock: [15, 60],
  webhook: [4, 15],
  'redis-kill': [3, 20],
  'redis-freeze': [3, 20],
  'redis-flush': [0, 0],
  'redis-away': [3, 20],
  'api-server': [0.5, 10],
  'black-hole': [3, 12],
};
/** Two of them at once would be one, or hurt what the other mends. */
const PLACE: Record<FaultKind, string> = {
  kill: 'replica',
  freeze: 'replica',
  terminate: 'replica',
  clock: 'clock',
  webhook: 'webhook',
  'redis-kill': 'redis',
  'redis-freeze': 'redis',
  'redis-flush': 'flush',
  'redis-away': 'redis',
  'api-server': 'api-server',
  'black-hole': 'api-server',
};
/** To come up, or to be seen to be back, before the same is hurt again. */
const REST_MS = 3_000;
const MOST_BETWEEN_MS = 9_000;

/**
 * A fault every few seconds, more often than they end, so that several overlap. Each kind comes once, in the order of
 * chance, before one comes again. All are mended by the end, so no replica is gone for good.
 */
export function planFaults(options: PlanOptions): Fault[] {
  const random = seeded(options.seed);
  const { scale = 1 } = options;
  const faults: Fault[] = [];
  let bag: FaultKind[] = [];
  let atMs = 0;
  for (;;) {
    atMs += Math.round(scale * (500 + random.below(MOST_BETWEEN_MS)));
    if (atMs > options.forMs) return faults;
    if (bag.length === 0) bag = shuffled(options.kinds ?? FAULTS, random);
    const fitting = bag.flatMap((kind) => aimed(kind, atMs, faults, options, random));
    const fault = fitting[0];
    if (!fault) continue;
    faults.push(fault);
    bag = bag.filter((kind) => kind !== fault.kind);
  }
}

/** Where and how long that kind may strike now; nothing where its places are taken, or it would not end in time. */
function aimed(
  kind: FaultKind,
  atMs: number,
  faults: readonly Fault[],
  options: PlanOptions,
  random: Random,
): Fault[] {
  const [least, most] = LASTS[kind];
  const forMs = Math.round((options.scale ?? 1) * (least + random.below(most - least)) * 1000);
  if (atMs + forMs > options.forMs) return [];
  const taken = faults.filter((each) => each.atMs + each.forMs + REST_MS > atMs);
  const targets = Array.from({ length: targetsOf(kind, options) }, (_, index) => index).filter(
    (target) => !taken.some((each) => meets(each, { kind, target })),
  );
  if (targets.length === 0) return [];
  return [{ kind, target: random.pick(targets), atMs, forMs }];
}

function targetsOf(kind: FaultKind, { replicas, redisServers }: PlanOptions): number {
  const place = PLACE[kind];
  if (place === 'replica' || place === 'clock') return replicas;
  return kind === 'redis-kill' || kind === 'redis-freeze' ? redisServers : 1;
}

/** Whether both would hurt the same: the one has to be mended before the other comes. */
export function meets(one: Pick<Fault, 'kind' | 'target'>, other: Pick<Fault, 'kind' | 'target'>): boolean {
  if (PLACE[one.kind] !== PLACE[other.kind]) return false;
  // All of the servers are away at once, or one of them.
  return one.kind === 'redis-away' || other.kind === 'redis-away' || one.target === other.target;
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  const rest = [...list];
  return list.map(() => rest.splice(Math.floor(random.below(rest.length)), 1)[0] as T);
}

export function describeFault({ kind, target, atMs, forMs }: Fault): string {
  const where = PLACE[kind] === 'replica' || kind === 'clock' ? ` of replica ${target}` : ` ${target}`;
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  return `${seconds(atMs).padStart(8)}  ${kind}${where}, for ${seconds(forMs)}`;
}
