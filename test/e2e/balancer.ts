import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export type Endpoint = { url: string; webhookPort: number };

export type Balancer = {
  port: number;
  /** Asks again now, without waiting for the next probe; gives how many are ready. */
  probe(): Promise<number>;
  /** Ends every connection and takes no other, until the answer is called. */
  cutOff(): () => void;
  stop(): Promise<void>;
};

/** As the manifests have it: deploy/base/deployment.yaml probes every 2 s, and a Service follows within another. */
const PROBE_EVERY_MS = 1_000;
const PROBE_TIMEOUT_MS = 2_000;

/**
 * What a Service does: each new connection goes to the next endpoint that was ready when it was last asked. Those that
 * are open stay where they are, also when their endpoint is ready no longer.
 */
export async function startBalancer(endpoints: () => Endpoint[]): Promise<Balancer> {
  let ready: Endpoint[] = [];
  let turn = 0;
  let cut = false;
  const open = new Set<Socket>();

  async function probe(): Promise<number> {
    const asked = endpoints();
    const answers = await Promise.all(asked.map(isReady));
    ready = asked.filter((_, index) => answers[index]);
    return ready.length;
  }

  const server = createServer({ noDelay: true }, (client) => {
    const wanted = cut ? [] : endpoints();
    const able = ready.filter((each) => wanted.includes(each));
    turn += 1;
    const next = able[turn % able.length];
    if (!next) {
      client.resetAndDestroy();
      return;
    }
    const backend = connect({ port: next.webhookPort, host: '127.0.0.1', noDelay: true });
    for (const [one, other] of [
      [client, backend],
      [backend, client],
    ] as const) {
      open.add(one);
      one.on('error', () => other.resetAndDestroy());
      one.on('close', () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  server.listen(0, '0.0.0.0');
  await once(server, 'listening');
  let stopped = false;
  const again = () => {
    if (!stopped) timer = setTimeout(() => void probe().finally(again), PROBE_EVERY_MS);
  };
  let timer: NodeJS.Timeout | undefined;
  again();
  return {
    port: (server.address() as AddressInfo).port,
    probe,
    cutOff() {
      cut = true;
      for (const socket of open) socket.resetAndDestroy();
      return () => {
        cut = false;
      };
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function isReady({ url }: Endpoint): Promise<boolean> {
  const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
  return fetch(`${url}/readyz`, { signal }).then(
    async (answer) => {
      await answer.body?.cancel();
      return answer.ok;
    },
    () => false,
  );
}
