import type { Cluster } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';
import { startBalancer } from './balancer.ts';
import { type Ips, installWebhook, startIps } from './ips.ts';

/** One of several, each on its own: the others go on, whatever is done to it. */
export type Replica = {
  index: number;
  /** The process that runs now, or ran last. */
  ips: Ips;
  running: boolean;
  /** After `stop` or `kill`: a new process, behind the balancer as soon as it is ready. `env` is added to that of all. */
  start(env?: Record<string, string>): Promise<void>;
  /** SIGTERM; no new connection comes to it from then on, as with a pod that is deleted. Gives the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  freeze(): void;
  thaw(): void;
};

export type Replicas = {
  all: Replica[];
  /** Added up over those that run. */
  metric(name: string, labels?: string): Promise<number>;
  /** Waits until so many (all that run, if not given) are behind the balancer. */
  ready(count?: number): Promise<void>;
  /** No admission review reaches any of them, until the answer is called. */
  cutOff(): () => void;
  /** Ends what still runs. */
  stop(): Promise<void>;
};

export type ReplicasOptions = {
  count: number;
  /** Of all of them, or by index. */
  env?: Record<string, string> | ((index: number) => Record<string, string>);
};

/** Starts replicas of IPS behind one address, to which the webhook configuration points. */
export async function startReplicas(cluster: Cluster, options: ReplicasOptions): Promise<Replicas> {
  const { env = {} } = options;
  const envOf = (index: number) => (typeof env === 'function' ? env(index) : env);
  const launch = (index: number, more?: Record<string, string>) =>
    startIps(cluster, { webhook: false, env: { ...envOf(index), ...more } });
  const indexes = Array.from({ length: options.count }, (_, index) => index);
  const all = await Promise.all(indexes.map(async (index) => replica(index, await launch(index))));
  const balancer = await startBalancer(() => all.filter(({ running }) => running).map(({ ips }) => ips));
  const running = () => all.filter((each) => each.running);
  const ready = async (count?: number) => {
    const wanted = () => count ?? running().length;
    await waitFor('the replicas to be ready', async () => (await balancer.probe()) >= wanted(), {
      timeoutMs: 60_000,
      everyMs: 200,
    });
  };

  function replica(index: number, first: Ips): Replica {
    const self: Replica = {
      index,
      ips: first,
      running: true,
      async start(more) {
        self.ips = await launch(index, more);
        self.running = true;
      },
      async stop() {
        self.running = false;
        return self.ips.stop();
      },
      async kill() {
        await self.ips.kill();
        self.running = false;
      },
      freeze: () => self.ips.freeze(),
      thaw: () => self.ips.thaw(),
    };
    return self;
  }

  await installWebhook(cluster, balancer.port);
  await ready();
  return {
    all,
    async metric(name, labels) {
      const values = await Promise.all(running().map(({ ips }) => ips.metric(name, labels)));
      return values.reduce((sum, value) => sum + value, 0);
    },
    ready,
    cutOff: balancer.cutOff,
    async stop() {
      // One that was stopped by a signal would not hear the next.
      for (const each of running()) each.thaw();
      await Promise.all(running().map((each) => each.stop()));
      await balancer.stop();
    },
  };
}
