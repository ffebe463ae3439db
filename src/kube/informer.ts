import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import type { KubeClient, WatchEvent } from './client.ts';
import { isForbidden, isGone, isNotFound, KubeError } from './errors.ts';
import type { Resource } from './resources.ts';

type Named = { metadata: KubernetesObject['metadata'] };

export type Informer<T extends Named> = {
  /** Lists and then watches until stopped; resolves when the first list is in, or it is known that there is none. */
  start(): Promise<void>;
  stop(): void;
  /** Asks anew from the last known version: what was told meanwhile may be stuck in a connection that broke. */
  rewatch(): void;
  hasSynced(): boolean;
  /** By `namespace/name`, or `name` for objects without a namespace. */
  get(key: string): T | undefined;
  values(): T[];
  /** Takes in what a write of our own returned, ahead of the watch. */
  put(object: T): void;
};

/** Whether a custom resource can be seen: its definition may be missing, or the right to it. */
export type Availability = 'watched' | 'absent' | 'forbidden';

export type InformerOptions<T extends Named> = {
  client: KubeClient;
  resource: Resource;
  labelSelector?: string;
  fieldSelector?: string;
  /** How many objects to list at once: fewer of those that are large, whose page would hold up everything else. */
  pageSize?: number;
  /** Keeps only the fields in use: what it returns is what is held in memory. */
  trim: (object: KubernetesObject) => T;
  /** Called with the old and the new state; it must only note keys, since what it throws would end the watch. */
  onChange: (key: string, before: T | undefined, after: T | undefined) => void;
  onError: (error: unknown) => void;
  /** Given for a resource that may be missing: that is no error then, and it is looked for until it is there. */
  onAvailability?: (now: Availability, error?: unknown) => void;
};

/** A megabyte or less of most objects: to parse more would hold up everything else. */
const PAGE = 100;
/** The server ends a watch after this long. */
const WATCH_SECONDS = 300;
/**
 * The server sends a bookmark about every minute. After more silence the connection is dead, or nothing ever happened
 * to this resource; asking anew from the last version is right for both, and costs one request and no list.
 */
const SILENCE_MS = 100_000;
/** A watch that lived this long worked. */
const CALM_MS = 5_000;
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 10_000;
/** With so many failures behind it the next try is as far away as it gets. */
const CALM_FAILURES = 10;

export function keyOf(object: Named): string {
  const { namespace, name = '' } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}

/**
 * Whether the watch tells more than our own write, taken in by `put`, did. Resource versions of one resource are ordered
 * numbers (Kubernetes API concepts, "Resource versions"); where they are not, the watch is believed.
 */
function isNews(told: Named, held: Named | undefined): boolean {
  if (!held || told.metadata.uid !== held.metadata.uid) return true;
  const [now, before] = [told.metadata.resourceVersion, held.metadata.resourceVersion];
  return now !== before && !(Number(now) < Number(before));
}

function missingOf(error: unknown): Availability | undefined {
  if (isNotFound(error)) return 'absent';
  return isForbidden(error) ? 'forbidden' : undefined;
}

/**
 * Keeps a copy of a collection. After an error it goes on from the last known version; it lists again only when the
 * server says that this version is gone.
 */
export function createInformer<T extends Named>(options: InformerOptions<T>): Informer<T> {
  const { client, resource, onChange, onError } = options;
  const { labelSelector, fieldSelector, pageSize = PAGE } = options;
  const selector = { labelSelector, fieldSelector };
  const stopped = new AbortController();
  const objects = new Map<string, T>();
  let resourceVersion: string | undefined;
  /** Once listed there is something to stand on, also while it is listed again. */
  let synced = false;
  /** Of the watch that runs, or of the pause before the next. */
  let current = new AbortController();
  /** Tries in a row of which no watch lived, and lists in a row that no watch could go on from. */
  let failures = 0;
  let relists = 0;

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
      const page = await client.list(resource, undefined, { ...selector, limit: pageSize, continue: next });
      await nextTurn(); // the page was just parsed
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
    else if (isNews(object, objects.get(key))) set(key, object);
  }

  async function watchOnce(): Promise<void> {
    const given = new AbortController();
    current = given;
    const giveUp = () => given.abort();
    let timer = setTimeout(giveUp, SILENCE_MS);
    const signal = AbortSignal.any([stopped.signal, given.signal]);
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
          timer = setTimeout(giveUp, SILENCE_MS);
          take(event);
        },
        signal,
      );
    } catch (error) {
      if (!given.signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
      // Where what was told could not be taken in, the answer is still open.
      given.abort();
    }
  }

  function fail(error: unknown, onListed: () => void): void {
    if (isGone(error)) {
      resourceVersion = undefined;
      relists += 1;
      failures = 0; // the server answers
      return;
    }
    const missing = options.onAvailability && missingOf(error);
    if (!missing) {
      onError(error);
      return;
    }
    // What may not be seen may well be there still.
    if (missing === 'absent') for (const key of [...objects.keys()]) set(key, undefined);
    resourceVersion = undefined;
    failures = CALM_FAILURES;
    options.onAvailability?.(missing, error);
    onListed();
  }

  /** Lists where there is no version to go on from, then watches until that ends; gives how long the watch lived. */
  async function step(onListed: () => void): Promise<number> {
    let begunMs: number | undefined;
    failures += 1;
    try {
      if (resourceVersion === undefined) {
        await listAll();
        synced = true;
        options.onAvailability?.('watched');
        onListed();
      }
      begunMs = performance.now();
      await watchOnce();
    } catch (error) {
      if (!stopped.signal.aborted) fail(error, onListed);
    }
    return begunMs === undefined ? 0 : performance.now() - begunMs;
  }

  async function run(onListed: () => void): Promise<void> {
    while (!stopped.signal.aborted) {
      // Only a watch that lived shows that all is well: where lists work and watches fail, it would be list after list.
      if ((await step(onListed)) >= CALM_MS) failures = relists = 0;
      current = new AbortController();
      const signal = AbortSignal.any([stopped.signal, current.signal]);
      const tries = Math.max(failures - 1, relists - 1, 0);
      const pauseMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** tries) * (0.5 + Math.random());
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
    }
  }

  let started: Promise<void> | undefined;
  return {
    start() {
      started ??= new Promise((resolve) => void run(resolve));
      return started;
    },
    stop: () => stopped.abort(),
    rewatch() {
      failures = 0;
      current.abort();
    },
    hasSynced: () => synced,
    get: (key) => objects.get(key),
    values: () => [...objects.values()],
    put(object) {
      // What the watch has told already, it has told this too, or something newer.
      if (Number(object.metadata.resourceVersion) > Number(resourceVersion)) set(keyOf(object), object);
    },
  };
}
