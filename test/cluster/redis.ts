import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

export type RedisOptions = {
  password?: string;
  /** Folder with `ca.crt`, `redis.crt` and `redis.key` (`writeServerPki`): the port speaks TLS and nothing else. */
  tls?: string;
  /** Every write is on the disk before its answer, and there again after a start; otherwise a stop loses all. */
  persistent?: boolean;
  /** Of the process, as LD_PRELOAD. */
  env?: Record<string, string>;
};

/** A real redis-server on this machine. It keeps its port over a stop and a start. */
export type RedisServer = {
  address: string;
  port: number;
  start(): Promise<void>;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGSTOP and SIGCONT: connections stay, and nobody answers. */
  freeze(): void;
  thaw(): void;
  /** FLUSHALL. */
  flush(): Promise<void>;
  /** A command by redis-cli, and its answer as text. */
  command(...args: string[]): Promise<string>;
  /** Ends it, and removes what it kept. */
  close(): Promise<void>;
};

// Debian keeps it in redis-tools, under a name by which it checks a file instead.
export const REDIS_SERVER = '/usr/bin/redis-check-rdb';
const READY_MS = 30_000;

export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'ips-redis-'));
  const program = join(folder, 'redis-server');
  await symlink(REDIS_SERVER, program);
  const port = await freePort();
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    const args = [program, ...serverArguments(options, folder, port)];
    // Should this process be killed, the server must not stay.
    child = spawn('setpriv', ['--pdeathsig', 'KILL', ...args], {
      env: { PATH: process.env['PATH'], ...options.env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // One that hangs before it is ready is ended by this, and its output then tells.
    const late = setTimeout(() => child?.kill('SIGKILL'), READY_MS);
    await ready(child).finally(() => clearTimeout(late));
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    // A process that is stopped does not take SIGTERM.
    if (signal === 'SIGTERM') child.kill('SIGCONT');
    child.kill(signal);
    await once(child, 'exit');
  }

  async function command(...args: string[]): Promise<string> {
    const secure = options.tls ? ['--tls', '--cacert', join(options.tls, 'ca.crt')] : [];
    const env = { ...process.env, ...(options.password ? { REDISCLI_AUTH: options.password } : {}) };
    const { stdout } = await promisify(execFile)(
      'redis-cli',
      ['-h', '127.0.0.1', '-p', String(port), ...secure, ...args],
      { env, timeout: 20_000 },
    );
    return stdout.trim();
  }

  await start();
  return {
    address: `127.0.0.1:${port}`,
    port,
    start,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    flush: async () => void (await command('FLUSHALL')),
    command,
    async close() {
      await end('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** So many that know nothing of each other, as a lock over several servers needs them. */
export function startRedisServers(count: number, options: RedisOptions = {}): Promise<RedisServer[]> {
  return Promise.all(Array.from({ length: count }, () => startRedis(options)));
}

function serverArguments(options: RedisOptions, folder: string, port: number): string[] {
  const { tls, password, persistent } = options;
  const ports = tls
    ? [
        ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no'],
        ...['--tls-cert-file', join(tls, 'redis.crt'), '--tls-key-file', join(tls, 'redis.key')],
        ...['--tls-ca-cert-file', join(tls, 'ca.crt')],
      ]
    : ['--port', String(port)];
  return [
    ...ports,
    ...['--bind', '127.0.0.1', '--dir', folder, '--save', ''],
    ...(persistent ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no']),
    ...(password ? ['--requirepass', password] : []),
  ];
}

async function ready(child: ChildProcess): Promise<void> {
  if (!child.stdout) throw new Error('redis-server has no standard output');
  const told: string[] = [];
  child.on('error', (error) => told.push(error.message));
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    told.push(line);
    if (!line.includes('Ready to accept connections')) continue;
    lines.close();
    child.stdout.resume();
    return;
  }
  throw new Error(`redis-server ended:\n${told.join('\n')}`);
}

/** Below the range from which the kernel takes the ports of outgoing connections: it is free again after a stop. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 16_000 + Math.floor(Math.random() * 14_000);
    const server = createServer().listen(port, '127.0.0.1');
    const free = await Promise.race([
      once(server, 'listening').then(() => true),
      once(server, 'error').then(() => false),
    ]).catch(() => false);
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
