import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import { startDetached, waitFor } from './run.ts';
import { endInside, enter } from './sandbox.ts';

/** `down`: nobody listens. `reset`: every connection is cut. `slow`: 100 kB a second. `limited`: 429 to everything. */
export type Mode = 'pass' | 'down' | 'reset' | 'slow' | 'limited';

export type Front = {
  mode: Mode;
  /** The registry behind, as seen from inside the cluster. */
  target: string;
  /** Of `limited`: the header of that name. */
  retryAfter?: string;
};

/** What a front was asked; of `reset`, each connection. */
export type RegistryRequest = { atMs: number; method: string; path: string };

export type RegistryFront = {
  /** As nodes name it in image references. */
  host: string;
  set(mode: Mode, retryAfter?: string): Promise<void>;
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
      const set = async (mode: Mode, retryAfter?: string): Promise<void> => {
        const front: Front = { mode, target, ...(retryAfter ? { retryAfter } : {}) };
        await ask(path, { method: 'PUT', body: JSON.stringify(front) });
      };
      await set(first, firstRetryAfter);
      return { host: `127.0.0.1:${port}`, set, requests: () => ask(path) };
    },
    stop: () => endInside(pid),
  };
}
