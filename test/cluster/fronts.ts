import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import { startDetached, waitFor } from './run.ts';
import { endInside, enter } from './sandbox.ts';

/**
 * `down`: nobody listens. `reset`: every connection is cut. `slow`: 100 kB a second. `limited`: 429 to everything.
 * `metered`: 429 to what comes faster than its rate. `silent`: no answer, until it does something else.
 */
export type Mode = 'pass' | 'down' | 'reset' | 'slow' | 'limited' | 'metered' | 'silent';

/** Of requests, over all clients: so many at once, when none came for a while, and then so many a second. */
export type Rate = { burst: number; perSecond: number };

export type Front = {
  mode: Mode;
  /** The registry behind, as seen from inside the cluster. */
  target: string;
  /** Of `limited` and `metered`: the header of that name. */
  retryAfter?: string;
  /** Of `metered`. */
  rate?: Rate;
};

/** What a front was asked, and whether it said 429; of `reset`, each connection. */
export type RegistryRequest = { atMs: number; method: string; path: string; limited?: boolean };

export type RegistryFront = {
  /** As nodes name it in image references. */
  host: string;
  set(mode: Mode, retryAfter?: string): Promise<void>;
  meter(rate: Rate, retryAfter?: string): Promise<void>;
  requests(): Promise<RegistryRequest[]>;
};

export type RegistryFronts = {
  /** A new port before a registry, whose `url` names its port. */
  open(registry: { url: string }, mode: Mode, retryAfter?: string): Promise<RegistryFront>;
  stop(): Promise<void>;
};

const CONTROL_PORT = 5100;

/** Registries that fail on purpose, and tell what they were asked; see registry-proxy.ts. */
export async function startRegistryFronts(cluster: Cluster): Promise<RegistryFronts> {
  const program = [join(import.meta.dirname, 'registry-proxy.ts'), String(CONTROL_PORT)];
  const log = join(cluster.folder, 'logs/registry-proxy.log');
  const pid = startDetached(...enter(cluster.sandbox, process.execPath, program), log);
  const url = `http://${cluster.sandbox.address}:${CONTROL_PORT}`;
  await waitFor('the fronts of the registries', async () => (await fetch(`${url}/0`)).ok, {
    timeoutMs: 20_000,
  });
  let lastPort = CONTROL_PORT;

  async function ask(path: string, init?: RequestInit): Promise<RegistryRequest[]> {
    const response = await fetch(url + path, init);
    if (!response.ok) throw new Error(`registry proxy: ${response.status} ${await response.text()}`);
    return (await response.json()) as RegistryRequest[];
  }

  return {
    async open(registry, first, firstRetryAfter) {
      lastPort += 1;
      const port = lastPort;
      const path = `/${port}`;
      const target = `http://127.0.0.1:${new URL(registry.url).port}`;
      const put = async (front: Omit<Front, 'target'>): Promise<void> => {
        await ask(path, { method: 'PUT', body: JSON.stringify({ ...front, target }) });
      };
      const until = (retryAfter?: string) => (retryAfter ? { retryAfter } : {});
      await put({ mode: first, ...until(firstRetryAfter) });
      return {
        host: `127.0.0.1:${port}`,
        set: (mode, retryAfter) => put({ mode, ...until(retryAfter) }),
        meter: (rate, retryAfter) => put({ mode: 'metered', rate, ...until(retryAfter) }),
        requests: () => ask(path),
      };
    },
    stop: () => endInside(pid),
  };
}
