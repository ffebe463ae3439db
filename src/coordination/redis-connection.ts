import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { addressName, type RedisAddress } from './redis-address.ts';
import type { Script } from './scripts.ts';

export type RedisSettings = {
  redisUsername: string | undefined;
  redisPassword: string | undefined;
  /** Read anew for every connection, so that a changed password is taken without a restart. */
  redisPasswordFile: string | undefined;
  /** PEM of those who may sign the servers' certificates; those of the system where there is none. */
  redisTlsCaFile: string | undefined;
  /** Before every key; replicas with the same one share their work. */
  redisPrefix: string;
};

/** Of a call of `redlock`. */
export type Callback = (error: Error | null, answer: unknown) => void;

/** One server. No call takes longer than `callMs`, whatever is wrong with it, and it is used again by itself. */
export type RedisConnection = {
  /** `host:port`, for logs and metrics. */
  name: string;
  /** What is wrong with it; undefined while it answers. */
  problem(): string | undefined;
  /** For how long there has been a problem; 0 while it answers. */
  awayMs(): number;
  run(script: Script, keys: string[], args: (string | number)[]): Promise<unknown>;
  get(key: string): Promise<unknown>;
  /** As `redlock` calls a client. */
  evalsha(sha: string, args: (string | number)[], callback: Callback): void;
  eval(args: (string | number)[], callback: Callback): void;
  close(): void;
};

/** A server that is away for no longer than this hesitates, or is dialled anew: it is waited for. */
export const PATIENCE_MS = 1_000;

const CALL_MS = 250;
const NOT_YET = 'not connected yet';
const PROBE_EVERY_MS = 5000;
/** A server that takes a connection and then says nothing: TCP would wait for a quarter of an hour. */
const HANDSHAKE_MS = 5000;
const RECONNECT_MS = { least: 100, most: 5000 };

export function connectRedis(
  address: RedisAddress,
  settings: RedisSettings,
  onChange: (connection: RedisConnection) => void,
  callMs = CALL_MS,
): RedisConnection {
  const { host, port, tls } = address;
  const name = addressName(address);
  let problem: string | undefined = NOT_YET;
  let sinceMs = performance.now();
  /** It answers that it will not: full, read-only, no rights. Others of its answers do not say that this is over. */
  let refuses = false;
  let closed = false;
  const client = new Redis({
    ...{ host, port, connectionName: 'ips', connectTimeout: 2000 },
    ...(settings.redisUsername ? { username: settings.redisUsername } : {}),
    password: passwordOf(settings),
    ...(tls ? { tls: caOf(settings) } : {}),
    // Redis 5 and proxies before it do not know the third.
    protocol: 2,
    // A command that cannot be sent now fails now: the caller has another way.
    ...{ maxRetriesPerRequest: 0, enableOfflineQueue: false, autoResendUnfulfilledCommands: false },
    retryStrategy(times) {
      client.options.password = passwordOf(settings, client.options.password);
      const ms = Math.min(RECONNECT_MS.most, RECONNECT_MS.least * 2 ** Math.min(times, 10));
      return ms / 2 + (Math.random() * ms) / 2;
    },
  });

  function note(found: string | undefined): void {
    if (closed || found === problem) return;
    const same = (found === undefined) === (problem === undefined);
    problem = found;
    if (same) return;
    sinceMs = performance.now();
    onChange(connection);
  }

  function noteFailure(error: unknown): void {
    if (isUnknownScript(error)) return;
    const isLate = error instanceof LateError;
    // That it cannot be sent says less than why the connection is not there.
    if (isLate || problem === undefined) note(messageOf(error));
    refuses ||= isRefusal(error);
    if (isLate && !closed) client.disconnect(true);
  }

  /** Settles in time. After a time-out the connection is made anew: whatever comes next must not wait for a dead one. */
  async function bounded<T>(call: () => Promise<T>, isProbe = false): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      // One more turn of the event loop: an answer may lie there unread because this process was held up itself.
      const expire = () => setImmediate(() => setImmediate(() => reject(new LateError(callMs))));
      timer = setTimeout(expire, callMs);
    });
    try {
      const answer = await Promise.race([call(), late]);
      if (isProbe) refuses = false;
      if (!refuses) note(undefined);
      return answer;
    } catch (error) {
      noteFailure(error);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** `ioredis` listens for one error of a socket; by TLS there may be two, and the second would end the process. */
  function bearErrors(): void {
    client.stream?.on('error', () => {});
  }

  const write = () => client.set(`${settings.redisPrefix}:alive`, name, 'PX', PROBE_EVERY_MS);
  const probe = () => void bounded(write, true).catch(() => {});
  const probing = setInterval(probe, PROBE_EVERY_MS);
  probing.unref();
  let handshake: NodeJS.Timeout | undefined;
  client.on('connect', () => {
    clearTimeout(handshake);
    handshake = setTimeout(() => {
      note('it takes connections, and does not answer');
      client.disconnect(true);
    }, HANDSHAKE_MS).unref();
  });
  client.on('ready', () => {
    clearTimeout(handshake);
    probe();
  });
  client.on('connecting', () => setImmediate(bearErrors));
  client.on('error', (error: Error) => {
    bearErrors();
    note(error.message);
  });
  // Why it was closed says more, where that is known.
  client.on('close', () => {
    clearTimeout(handshake);
    note(problem && problem !== NOT_YET ? problem : 'the connection was closed');
  });

  const connection: RedisConnection = {
    name,
    problem: () => problem,
    awayMs: () => (problem === undefined ? 0 : performance.now() - sinceMs),
    run: (script, keys, args) =>
      bounded(() =>
        client.evalsha(script.sha, keys.length, ...keys, ...args).catch((error: unknown) => {
          if (!isUnknownScript(error)) throw error;
          return client.eval(script.text, keys.length, ...keys, ...args);
        }),
      ),
    get: (key) => bounded(() => client.get(key)),
    evalsha: (sha, args, callback) =>
      back(
        bounded(() => client.call('evalsha', [sha, ...args])),
        callback,
      ),
    eval: (args, callback) =>
      back(
        bounded(() => client.call('eval', args)),
        callback,
      ),
    close() {
      closed = true;
      clearInterval(probing);
      clearTimeout(handshake);
      client.disconnect();
    },
  };
  return connection;
}

class LateError extends Error {
  constructor(callMs: number) {
    super(`no answer within ${callMs} ms`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

function isRefusal(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError';
}

/** What `redlock` gives back from its callback is a promise that it handles itself: it must not become ours. */
function back(answer: Promise<unknown>, callback: Callback): void {
  answer.then(
    (value) => void callback(null, value),
    (error: Error) => void callback(error, undefined),
  );
}

function caOf({ redisTlsCaFile }: RedisSettings): { ca?: string } {
  return redisTlsCaFile ? { ca: readFile('REDIS_TLS_CA_FILE', redisTlsCaFile) } : {};
}

function readFile(setting: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`${setting} cannot be read: ${messageOf(error)}`);
  }
}

/** A file that is being replaced may be missing for a moment. */
function passwordOf(settings: RedisSettings, last?: string | null): string | undefined {
  if (!settings.redisPasswordFile) return settings.redisPassword;
  try {
    return readFile('REDIS_PASSWORD_FILE', settings.redisPasswordFile).trim();
  } catch (error) {
    if (last === undefined || last === null) throw error;
    return last;
  }
}
