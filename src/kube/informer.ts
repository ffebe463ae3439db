import { setTimeout as sleep } from 'node:timers/promises';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import type { KubeClient, WatchEvent } from './client.ts';
import { isGone, KubeError } from './errors.ts';
import type { Resource } from './resources.ts';

type Named = { metadata: KubernetesObject['metadata'] };

export type Informer<T extends Named> = {
  /** Lists and then watches until stopped; resolves when the first list is in. */
  start(): Promise<void>;
  stop(): void;
  hasSynced(): boolean;
  /** By `namespace/name`, or `name` for objects without a namespace. */
  get(key: string): T | undefined;
  values(): T[];
  /** Takes in what a write of our own returned, ahead of the watch. */
  put(object: T): void;
};

export type InformerOptions<T extends Named> = {
  client: KubeClient;
  resource: Resource;
  labelSelector?: string;
  fieldSelector?: string;
  /** Keeps only the fields in use: what it returns is what is held in memory. */
  trim: (object: KubernetesObject) => T;
  /** Called with the old and the new state; it must only note keys, since what it throws would end the watch. */
  onChange: (key: string, before: T | undefined, after: T | undefined) => void;
  onError: (error: unknown) => void;
};

const PAGE = 500;
/** The server ends a watch after this long; a watch that says nothing for longer is dead. */
const WATCH_SECONDS = 300;
const SILENCE_MS = (WATCH_SECONDS + 30) * 1000;
const MAX_BACKOFF_MS = 30_000;
const MIN_PAUSE_MS = 20;

export function keyOf(object: Named): string {
  const { namespace, name = '' } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}

/**
 * Whether our own write, taken in by `put`, is ahead of what the watch tells. Resource versions of one resource are
 * ordered numbers (Kubernetes API concepts, "Resource versions"); where they are not, the watch is believed.
 */
function isOlder(told: Named, held: Named | undefined): boolean {
  if (!held || told.metadata.uid !== held.metadata.uid) return false;
  return Number(told.metadata.resourceVersion) < Number(held.metadata.resourceVersion);
}

/**
 * Keeps a copy of a collection. After an error it goes on from the last known version; it lists again only when the
 * server says that this version is gone.
 */
export function createInformer<T extends Named>(options: InformerOptions<T>): Informer<T> {
  const { client, resource, onChange, onError } = options;
  const { labelSelector, fieldSelector } = options;
  const selector = { labelSelector, fieldSelector };
  const stopped = new AbortController();
  const objects = new Map<string, T>();
  let resourceVersion: string | undefined;
  /** Once listed there is something to stand on, also while it is listed again. */
  let synced = false;

  function set(key: string, after: T | undefined): void {
    const before = objects.get(key);
    if (after) objects.set(key, after);
    else objects.delete(key);
    if (before || after) onChange(key, before, after);
  }

  async function listAll(): Promise<void> {
    const seen = new Set<string>();
    let next: string | undefined;
    let version = '';
    do {
      const page = await client.list(resource, undefined, { ...selector, limit: PAGE, continue: next });
      for (const item of page.items) seen.add(takeListed(options.trim(item)));
      next = page.continue;
      version = page.resourceVersion;
    } while (next);
    for (const key of [...objects.keys()].filter((each) => !seen.has(each))) set(key, undefined);
    resourceVersion = version;
  }

  function takeListed(object: T): string {
    const key = keyOf(object);
    if (objects.get(key)?.metadata.resourceVersion !== object.metadata.resourceVersion) set(key, object);
    return key;
  }

  function take(event: WatchEvent): void {
    if (event.type === 'ERROR')
      throw new KubeError(
        event.object.code ?? 0,
        event.object.reason ?? '',
        event.object.message ?? 'watch error',
      );
    resourceVersion = event.object.metadata.resourceVersion ?? resourceVersion;
    if (event.type === 'BOOKMARK') return;
    const object = options.trim(event.object);
    const key = keyOf(object);
    if (event.type === 'DELETED') set(key, undefined);
    else if (!isOlder(object, objects.get(key))) set(key, object);
  }

  async function watchOnce(): Promise<void> {
    const silent = new AbortController();
    let timer = setTimeout(() => silent.abort(), SILENCE_MS);
    const signal = AbortSignal.any([stopped.signal, silent.signal]);
    try {
      const query = {
        ...selector,
        timeoutSeconds: WATCH_SECONDS,
        ...(resourceVersion ? { resourceVersion } : {}),
      };
      await client.watch(
        resource,
        query,
        (event) => {
          clearTimeout(timer);
          timer = setTimeout(() => silent.abort(), SILENCE_MS);
          take(event);
        },
        signal,
      );
    } finally {
      clearTimeout(timer);
      // Where what was told could not be taken in, the answer is still open.
      silent.abort();
    }
  }

  /** Lists where there is no version to go on from, then watches; returns when the watch ended in order. */
  async function step(): Promise<void> {
    if (resourceVersion === undefined) await listAll();
    else await watchOnce();
  }

  async function run(onFirstList: () => void): Promise<void> {
    let failures = 0;
    while (!stopped.signal.aborted) {
      try {
        await step();
        failures = 0;
        synced = true;
        onFirstList();
        // A server or a proxy that ends every watch at once must not be asked in a tight loop.
        await sleep(MIN_PAUSE_MS);
      } catch (error) {
        if (stopped.signal.aborted) return;
        if (isGone(error)) {
          resourceVersion = undefined;
          continue;
        }
        onError(error);
        failures += 1;
        const backoff = Math.min(MAX_BACKOFF_MS, 250 * 2 ** failures);
        await sleep(backoff * (0.5 + Math.random()), undefined, { signal: stopped.signal }).catch(() => {});
      }
    }
  }

  let started: Promise<void> | undefined;
  return {
    start() {
      started ??= new Promise((resolve) => void run(resolve));
      return started;
    },
    stop: () => stopped.abort(),
    hasSynced: () => synced,
    get: (key) => objects.get(key),
    values: () => [...objects.values()],
    put(object) {
      // What the watch has told already, it has told this too, or something newer.
      if (Number(object.metadata.resourceVersion) > Number(resourceVersion)) set(keyOf(object), object);
    },
  };
}
