import { HttpMethod, type KubeConfig, RequestContext } from '@kubernetes/client-node';
import { fetch, type Response } from 'undici';
import type { JsonPatchOperation } from '../domain/json-patch.ts';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import { dropConnections } from './config.ts';
import { KubeError, NAMESPACE_TERMINATING } from './errors.ts';
import { createPace } from './pace.ts';
import { type Resource, resourcePath } from './resources.ts';

export type Query = Record<string, string | number | boolean | undefined>;
export type ListAnswer<T> = { items: T[]; resourceVersion: string; continue: string | undefined };
/** What must be true of the object for the call to go through. */
export type Preconditions = { uid?: string | undefined; resourceVersion?: string | undefined };
export type WatchEvent = {
  type: string;
  object: KubernetesObject & { code?: number; message?: string; reason?: string };
};

/**
 * Calls to the API server, as plain JSON. The library's typed calls are not used for them: they hold the event loop
 * for 600 ms on a list of 5,000 nodes, and drop fields that are newer than they are.
 */
export type KubeClient = {
  /** Asks for next to nothing, to learn whether there is an answer; every account may. */
  ping(): Promise<void>;
  get<T extends KubernetesObject>(
    resource: Resource,
    namespace: string | undefined,
    name: string,
  ): Promise<T>;
  list<T extends KubernetesObject>(
    resource: Resource,
    namespace: string | undefined,
    query: Query,
    options?: { metadataOnly: boolean },
  ): Promise<ListAnswer<T>>;
  create<T extends KubernetesObject>(
    resource: Resource,
    namespace: string | undefined,
    object: T,
  ): Promise<T>;
  /** Fails with a conflict where `metadata.resourceVersion` is no longer the current one. */
  replace<T extends KubernetesObject>(resource: Resource, object: T): Promise<T>;
  /** As `replace`, of the status alone. */
  replaceStatus<T extends KubernetesObject>(resource: Resource, object: T): Promise<T>;
  mergePatch<T extends KubernetesObject>(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    patch: object,
  ): Promise<T>;
  jsonPatch<T extends KubernetesObject>(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    patch: JsonPatchOperation[],
  ): Promise<T>;
  /** In the background, so that what the object owns goes with it; the default would orphan a Job's pods. */
  remove(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    only?: Preconditions,
  ): Promise<void>;
  /** Resolves when the server ends the watch; `signal` ends it from here. */
  watch(
    resource: Resource,
    query: Query,
    onEvent: (event: WatchEvent) => void,
    signal: AbortSignal,
  ): Promise<void>;
};

type Body = { type: string; value: unknown };

const REQUEST_TIMEOUT_MS = 30_000;
const PING_TIMEOUT_MS = 10_000;
/** Under this name the API server keeps which fields are ours: who compares sees that nobody else wrote them. */
const WRITER = { fieldManager: 'ips' };
const JSON_TYPE = 'application/json';
const METADATA_TYPE = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

export type KubeClientOptions = {
  /** Tells our requests apart in the API server's audit log. */
  userAgent: string;
  /** Called when the API server answers again after it could not be reached for this long. */
  onReturn?: (awayMs: number) => void;
  /** Called with the `Date` header of each answer, and when its request was sent by `performance.now()`. */
  onDate?: (header: string | null, sentMs: number) => void;
  /** How long a call may take. */
  timeoutMs?: number;
};

export function createKubeClient(config: KubeConfig, options: KubeClientOptions): KubeClient {
  const server = config.getCurrentCluster()?.server ?? '';
  const { timeoutMs = REQUEST_TIMEOUT_MS } = options;
  /** When the first request was sent that got no answer. */
  let awaySinceMs: number | undefined;
  let answeredMs = Number.NEGATIVE_INFINITY;

  function noteAnswer(): void {
    answeredMs = performance.now();
    if (awaySinceMs === undefined) return;
    const awayMs = performance.now() - awaySinceMs;
    awaySinceMs = undefined;
    options.onReturn?.(awayMs);
  }

  async function send(
    method: HttpMethod,
    path: string,
    query: Query,
    signal: AbortSignal,
    body?: Body,
    accept = JSON_TYPE,
  ) {
    const url = new URL(server + path);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, String(value));
    const context = new RequestContext(url.toString(), method);
    await config.applySecurityAuthentication(context);
    const headers: Record<string, string> = {
      ...context.getHeaders(),
      accept,
      'user-agent': options.userAgent,
    };
    if (body) headers['content-type'] = body.type;
    const dispatcher = context.getDispatcher();
    const sentMs = performance.now();
    const response = await fetch(url, {
      ...{ method, headers, signal },
      ...(body ? { body: JSON.stringify(body.value) } : {}),
      ...(dispatcher ? { dispatcher } : {}),
    }).catch((error: unknown) => {
      // Not what the caller gave up itself, nor one request that failed while others were answered.
      const ownWish = error instanceof DOMException && error.name === 'AbortError';
      if (!ownWish && sentMs > answeredMs) {
        awaySinceMs ??= sentMs;
        if (isTimeout(error)) dropConnections(config);
      }
      throw unreachable(error);
    });
    noteAnswer();
    options.onDate?.(response.headers.get('date'), sentMs);
    if (!response.ok) throw await kubeError(response, method, path);
    return response;
  }

  async function call<T>(
    method: HttpMethod,
    path: string,
    query: Query = {},
    body?: Body,
    accept?: string,
  ): Promise<T> {
    const response = await send(method, path, query, AbortSignal.timeout(timeoutMs), body, accept);
    return (await response.json().catch((error: unknown) => {
      throw unreachable(error);
    })) as T;
  }

  const json = (value: unknown) => ({ type: JSON_TYPE, value });

  return {
    async ping() {
      const response = await send(HttpMethod.GET, '/version', {}, AbortSignal.timeout(PING_TIMEOUT_MS));
      await response.text();
    },
    get: (resource, namespace, name) => call(HttpMethod.GET, resourcePath(resource, namespace, name)),
    async list(resource, namespace, query, options) {
      const path = resourcePath(resource, namespace);
      type Answer = { items: never[] | null; metadata: { resourceVersion: string; continue?: string } };
      const accept = options?.metadataOnly ? METADATA_TYPE : JSON_TYPE;
      const answer = await call<Answer>(HttpMethod.GET, path, query, undefined, accept);
      return {
        items: answer.items ?? [],
        resourceVersion: answer.metadata.resourceVersion,
        continue: answer.metadata.continue || undefined,
      };
    },
    create: (resource, namespace, object) =>
      call(HttpMethod.POST, resourcePath(resource, namespace), WRITER, json(object)),
    replace: (resource, object) => {
      const { namespace, name } = object.metadata;
      return call(HttpMethod.PUT, resourcePath(resource, namespace, name), WRITER, json(object));
    },
    replaceStatus: (resource, object) => {
      const { namespace, name } = object.metadata;
      return call(HttpMethod.PUT, `${resourcePath(resource, namespace, name)}/status`, WRITER, json(object));
    },
    mergePatch: (resource, namespace, name, value) => {
      const body = { type: 'application/merge-patch+json', value };
      return call(HttpMethod.PATCH, resourcePath(resource, namespace, name), WRITER, body);
    },
    jsonPatch: (resource, namespace, name, value) => {
      const body = { type: 'application/json-patch+json', value };
      return call(HttpMethod.PATCH, resourcePath(resource, namespace, name), WRITER, body);
    },
    async remove(resource, namespace, name, preconditions) {
      const value = { propagationPolicy: 'Background', ...(preconditions ? { preconditions } : {}) };
      await call(HttpMethod.DELETE, resourcePath(resource, namespace, name), {}, json(value));
    },
    async watch(resource, query, onEvent, signal) {
      const path = resourcePath(resource, undefined);
      const asked = { ...query, watch: true, allowWatchBookmarks: true };
      // The answer begins at once, whenever the first event may come: a connection that swallows the request is dead.
      const late = new AbortController();
      const timer = setTimeout(
        () => late.abort(new DOMException('no answer began', 'TimeoutError')),
        REQUEST_TIMEOUT_MS,
      );
      const response = await send(
        HttpMethod.GET,
        path,
        asked,
        AbortSignal.any([signal, late.signal]),
      ).finally(() => clearTimeout(timer));
      if (!response.body) return;
      // Of thousands of objects that change at once megabytes are there to be read, and none of it has to be waited for.
      const pace = createPace();
      for await (const line of linesOf(response.body)) {
        onEvent(JSON.parse(line) as WatchEvent);
        await pace();
      }
    },
  };
}

/** Not node:readline: left before its end, it ends the process when the connection breaks afterwards. */
async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines.filter(Boolean);
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'TimeoutError';
}

function unreachable(error: unknown): KubeError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
  return new KubeError(0, 'Unreachable', `the API server did not answer: ${cause}`, { cause: error });
}

async function kubeError(response: Response, method: string, path: string): Promise<KubeError> {
  const text = await response.text().catch(() => '');
  const status = parseStatus(text);
  const message = `${method} ${path}: ${response.status} ${status.message ?? text.slice(0, 200)}`;
  const isTerminating = status.details?.causes?.some(({ reason }) => reason === NAMESPACE_TERMINATING);
  const reason = isTerminating ? NAMESPACE_TERMINATING : status.reason;
  return new KubeError(response.status, reason ?? response.statusText, message);
}

type Status = { reason?: string; message?: string; details?: { causes?: { reason?: string }[] } };

function parseStatus(text: string): Status {
  try {
    return JSON.parse(text) as Status;
  } catch {
    return {};
  }
}
