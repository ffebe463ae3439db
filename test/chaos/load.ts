import { setTimeout as sleep } from 'node:timers/promises';
import { PREWARM } from '../../src/domain/annotations.ts';
import type { KubernetesObject } from '../../src/domain/kubernetes.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { KubeError } from '../../src/kube/errors.ts';
import { RESOURCES } from '../../src/kube/resources.ts';
import { fakeNode } from '../cluster/fake-nodes.ts';
import { deployment } from '../e2e/kit.ts';
import type { Random } from '../seeded.ts';
import type { Wish, Write } from './invariants.ts';

/** A team at work: workloads come, change, opt out and go, and so do nodes. */
export type Load = {
  /** What was applied last, and was answered or may have been. */
  wishes: ReadonlyMap<string, Wish>;
  applies: Write[];
  /** Writes that no webhook sees, all the time. */
  controls: Write[];
  /** What was done, by kind. */
  counts: Map<string, number>;
  /** The nodes that the fake pool should have. */
  nodes: ReadonlySet<string>;
  /** Does the next thing. */
  step(): Promise<void>;
  control(): Promise<void>;
  /** So many new workloads at once, on all fake nodes. */
  crowd(count: number): Promise<void>;
  /** Takes all away. */
  clear(): Promise<void>;
};

export type LoadOptions = {
  client: KubeClient;
  namespace: string;
  random: Random;
  /** Fake nodes: their label `pool`, and how many there are at first. */
  pool: string;
  nodes: number;
  /** References that real nodes can pull, and one that they cannot. */
  images: { real: string[]; missing: (name: string) => string };
};

type Deployment = KubernetesObject & {
  spec: { replicas: number; template: { spec: { containers: object[] } } };
};
type Send = () => Promise<KubernetesObject | undefined>;

const MOST_WORKLOADS = 20;
const MOST_TRIES = 200;
const AGAIN_MS = 500;
/** A pool of real nodes, see test/cluster. */
const REAL = 'web';
const CONTROL = 'control';
const configMaps = { apiVersion: 'v1', plural: 'configmaps' };

export function createLoad(options: LoadOptions): Load {
  const { client, namespace, random, pool } = options;
  const wishes = new Map<string, Wish>();
  const applies: Write[] = [];
  const controls: Write[] = [];
  const counts = new Map<string, number>();
  const nodes = new Set(Array.from({ length: options.nodes }, (_, index) => `${pool}-${index}`));
  /** Those that a step is at: whose state would not be known if two were. */
  const busy = new Set<Wish>();
  let lastNode = options.nodes - 1;
  let lastWorkload = 0;
  let lastImage = 0;

  /** Sends a write and notes how it went. Without an answer it is sent again, until it is known to stand. */
  async function write(kept: Write[], name: string, send: Send, wantsLabel = false): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      const { write: one, failed } = await timed(name, send, wantsLabel);
      // What went through without an answer is there, or gone, the second time.
      if (tries > 0 && failed instanceof KubeError && [404, 409].includes(failed.status)) return;
      kept.push(one);
      if (!failed) return;
      if (tries > MOST_TRIES) throw failed;
      await sleep(AGAIN_MS);
    }
  }

  function imageFor(missing: boolean, real: boolean): string {
    lastImage += 1;
    if (missing) return options.images.missing(`missing-${lastImage}`);
    return real ? random.pick(options.images.real) : `registry.invalid/app:${lastImage}`;
  }

  async function create(): Promise<void> {
    const real = random.below(1) < 0.35;
    const missing = real && random.below(1) < 0.25;
    // Two workloads may want the same, and then they share a task.
    const twin = [...wishes.values()].find((wish) => wish.optedIn && !wish.missing && random.below(1) < 0.1);
    const fresh = () => ({
      ...{ optedIn: true, pool: real ? REAL : pool },
      ...{ image: imageFor(missing, real), missing },
    });
    await add(twin ?? fresh());
  }

  async function add(like: Omit<Wish, 'name'>): Promise<void> {
    lastWorkload += 1;
    const name = `w${lastWorkload}`;
    const wish: Wish = { ...like, name };
    const annotations = {
      [PREWARM]: 'true',
      'ips/priority': String(random.integer(1, 10)),
      ...(wish.missing ? { 'ips/retry-limit': '1', 'ips/retry-strategy': 'linear' } : {}),
      ...(random.below(1) < 0.3 ? { 'ips/timeout': '5m' } : {}),
    };
    const object = deployment(name, {
      annotations,
      replicas: 0,
      images: [wish.image],
      spec: { nodeSelector: { pool: wish.pool } },
    }) as KubernetesObject;
    wishes.set(name, wish);
    await alone(wish, () =>
      write(applies, name, () => client.create(RESOURCES.deployments, namespace, object), true),
    );
  }

  /** Not a patch: that the API server repeats on a conflict by itself, with admission, and it is timed as one. */
  async function change(wish: Wish, make: (deployment: Deployment) => void): Promise<void> {
    for (;;) {
      const deployment = await client
        .get<Deployment>(RESOURCES.deployments, namespace, wish.name)
        .catch(() => undefined);
      if (!deployment) {
        await sleep(AGAIN_MS);
        continue;
      }
      make(deployment);
      const { write: one, failed } = await timed(
        wish.name,
        () => client.replace(RESOURCES.deployments, deployment),
        wish.optedIn,
      );
      // Somebody else wrote it meanwhile.
      const conflict = failed instanceof KubeError && failed.status === 409;
      if (!conflict) applies.push(one);
      if (!failed) return;
      if (!conflict) await sleep(AGAIN_MS);
    }
  }

  const actions: Record<string, (wish: Wish) => Promise<void>> = {
    async 'change image'(wish) {
      wish.image = imageFor(wish.missing, wish.pool === REAL);
      await change(wish, ({ spec }) => {
        spec.template.spec.containers = [{ name: 'c0', image: wish.image }];
      });
    },
    async 'opt out or in'(wish) {
      wish.optedIn = !wish.optedIn;
      await change(wish, ({ metadata: { annotations = {} } }) => {
        if (wish.optedIn) annotations[PREWARM] = 'true';
        else delete annotations[PREWARM];
      });
    },
    scale: (wish) =>
      change(wish, ({ spec }) => {
        spec.replicas = wish.pool === REAL ? 0 : random.integer(0, 3);
      }),
    async 'mend image'(wish) {
      wish.missing = false;
      await actions['change image']?.(wish);
    },
    async remove(wish) {
      wishes.delete(wish.name);
      await write(applies, wish.name, async () => {
        await client.remove(RESOURCES.deployments, namespace, wish.name);
        return undefined;
      });
    },
  };

  async function changeNodes(): Promise<void> {
    const goes = nodes.size > options.nodes / 2 && random.below(1) < 0.5;
    if (goes) {
      const name = random.pick([...nodes]);
      nodes.delete(name);
      await write(controls, name, async () => {
        await client.remove(RESOURCES.nodes, undefined, name);
        return undefined;
      });
      return;
    }
    lastNode += 1;
    // Never a name again: what stands of the old one would be taken for the new one's.
    const object = fakeNode(pool, lastNode) as KubernetesObject;
    await write(controls, 'node', () => client.create(RESOURCES.nodes, undefined, object));
    // Not before: another hand would remove what is not there yet.
    nodes.add(object.metadata.name ?? '');
  }

  async function alone(wish: Wish, act: () => Promise<void>): Promise<void> {
    busy.add(wish);
    await act().finally(() => busy.delete(wish));
  }

  function next(): [string, () => Promise<void>] {
    const dice = random.below(1);
    const idle = [...wishes.values()].filter((wish) => !busy.has(wish));
    const wish = idle.length > 0 ? random.pick(idle) : undefined;
    if (!wish || (dice < 0.4 && wishes.size < MOST_WORKLOADS)) return ['create', create];
    if (dice < 0.5) return ['change nodes', changeNodes];
    const kind = random.pick(Object.keys(actions).filter((each) => each !== 'mend image' || wish.missing));
    return [kind, () => alone(wish, async () => actions[kind]?.(wish))];
  }

  return {
    ...{ wishes, applies, controls, counts, nodes },
    async step() {
      const [kind, act] = next();
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      await act();
    },
    async control() {
      const object = {
        ...{ apiVersion: 'v1', kind: 'ConfigMap' },
        metadata: { name: CONTROL },
        data: { at: String(Date.now()) },
      };
      await write(controls, CONTROL, async () => {
        try {
          return await client.mergePatch(configMaps, namespace, CONTROL, object);
        } catch (error) {
          if (!(error instanceof KubeError) || error.status !== 404) throw error;
          return client.create(configMaps, namespace, object);
        }
      });
    },
    async crowd(count) {
      const one = () => add({ optedIn: true, pool, image: imageFor(false, false), missing: false });
      await Promise.all(Array.from({ length: count }, one));
    },
    async clear() {
      for (const name of [...wishes.keys()]) {
        wishes.delete(name);
        await write(applies, name, async () => {
          await client.remove(RESOURCES.deployments, namespace, name);
          return undefined;
        });
      }
    },
  };
}

async function timed(
  name: string,
  send: Send,
  wantsLabel: boolean,
): Promise<{ write: Write; failed?: unknown }> {
  const atMs = Date.now();
  const since = performance.now();
  try {
    const answer = await send();
    const labelled = answer?.metadata.labels?.[PREWARM] === 'true';
    return { write: { name, atMs, ms: performance.now() - since, ...(wantsLabel ? { labelled } : {}) } };
  } catch (failed) {
    const error = failed instanceof Error ? failed.message : String(failed);
    return { write: { name, atMs, ms: performance.now() - since, error }, failed };
  }
}
