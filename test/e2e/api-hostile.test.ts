import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cacheDirectory } from '../cluster/cache.ts';
import { kubectl } from '../cluster/cluster.ts';
import { run } from '../cluster/run.ts';
import { createCaller, send, waitForRole } from './callers.ts';
import { type Ips, startIps } from './ips.ts';
import { createKit, type Kit } from './kit.ts';
import { type Conversation, converse } from './raw.ts';

const SCHEMATHESIS_SECONDS = 30;

let kit: Kit;
let ips: Ips;
let token: string;

beforeAll(async () => {
  kit = await createKit('api-hostile');
  ips = await startIps(kit.cluster);
  const { cluster, namespace } = kit;
  token = await createCaller(cluster, { namespace, name: 'admin', role: 'ips-admin', everywhere: true });
  await waitForRole(ips.url, token, '');
});

afterAll(async () => {
  await ips?.stop();
  await kubectl(kit.cluster, [
    'delete',
    'clusterrolebinding',
    '--ignore-not-found',
    `${kit.namespace}-admin`,
  ]);
  await kit?.remove();
});

const health = () => send(ips.url, { method: 'GET', path: '/healthz' });

function post(lines: string[], options: { token?: boolean; type?: string } = {}): string {
  const authorization = options.token === false ? [] : [`Authorization: Bearer ${token}`];
  const head = [
    'POST /api/v1/tasks HTTP/1.1',
    'Host: ips',
    `Content-Type: ${options.type ?? 'application/json'}`,
    ...authorization,
  ];
  return [...head, ...lines, '', ''].join('\r\n');
}

const TEN_MB = 10 << 20;
const CHUNK = `10000\r\n${' '.repeat(65_536)}\r\n`;
const answer = (status: number) => new RegExp(`^HTTP/1.1 ${status} `);

const HOSTILE: { what: string; talk: () => Conversation; told: RegExp; withinSeconds: number }[] = [
  {
    what: 'bytes that are not HTTP',
    talk: () => ({ parts: ['\x16\x03\x01\x02\x00\x01\x00'] }),
    ...{ told: answer(400), withinSeconds: 5 },
  },
  {
    what: 'HTTP/2 on a port that does not speak it',
    talk: () => ({ parts: ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'] }),
    ...{ told: answer(400), withinSeconds: 5 },
  },
  {
    what: 'headers of 40 kB',
    talk: () => ({ parts: [`GET /healthz HTTP/1.1\r\nHost: ips\r\nX: ${'y'.repeat(40_000)}\r\n\r\n`] }),
    ...{ told: answer(431), withinSeconds: 5 },
  },
  {
    what: 'two lengths of one body',
    talk: () => ({ parts: [post(['Content-Length: 4', 'Transfer-Encoding: chunked']), '0\r\n\r\n'] }),
    ...{ told: answer(400), withinSeconds: 5 },
  },
  {
    what: 'a path that is no text',
    talk: () => ({ parts: ['GET /api/v1/%E0%A4%A HTTP/1.1\r\nHost: ips\r\nConnection: close\r\n\r\n'] }),
    ...{ told: answer(400), withinSeconds: 5 },
  },
  {
    what: 'another content type',
    talk: () => ({ parts: [post(['Content-Length: 4', 'Connection: close'], { type: 'text/xml' }), '<a/>'] }),
    ...{ told: /^HTTP\/1.1 415 [\s\S]*application\/problem\+json/, withinSeconds: 5 },
  },
  {
    what: 'a body of 10 MB',
    talk: () => ({ parts: [post([`Content-Length: ${TEN_MB}`]), Buffer.alloc(TEN_MB, ' ')] }),
    ...{ told: answer(413), withinSeconds: 5 },
  },
  {
    what: 'a body of 10 MB that does not say so',
    talk: () => ({ parts: [post(['Transfer-Encoding: chunked']), ...Array<string>(160).fill(CHUNK)] }),
    ...{ told: answer(413), withinSeconds: 5 },
  },
  {
    what: 'a body of 10 MB from nobody',
    talk: () => ({
      parts: [post([`Content-Length: ${TEN_MB}`], { token: false }), Buffer.alloc(TEN_MB, ' ')],
    }),
    ...{ told: answer(401), withinSeconds: 5 },
  },
  {
    what: 'half a request, then our half closed',
    talk: () => ({ parts: ['GET /healthz HTTP/1.1\r\nHos'], end: true }),
    ...{ told: answer(400), withinSeconds: 5 },
  },
  {
    what: 'half a body, then our half closed',
    talk: () => ({ parts: [post(['Content-Length: 100']), '{'], end: true }),
    ...{ told: answer(400), withinSeconds: 5 },
  },
  {
    what: 'a whole request, then our half closed: it is answered',
    talk: () => ({ parts: ['GET /healthz HTTP/1.1\r\nHost: ips\r\n\r\n'], end: true }),
    ...{ told: /^HTTP\/1.1 200 [\s\S]*"status":"ok"/, withinSeconds: 5 },
  },
  { what: 'nothing at all', talk: () => ({ parts: [] }), told: answer(408), withinSeconds: 15 },
  {
    what: 'a header now and then, for ever',
    talk: () => ({ parts: ['GET / HTTP/1.1\r\n', ...Array<string>(100).fill('X: y\r\n')], everyMs: 400 }),
    ...{ told: answer(408), withinSeconds: 15 },
  },
  {
    what: 'a byte of the body now and then, for ever',
    talk: () => ({ parts: [post(['Content-Length: 100']), ...Array<string>(99).fill(' ')], everyMs: 400 }),
    ...{ told: answer(408), withinSeconds: 25 },
  },
];

test('whoever does not speak HTTP, or too much, or too slowly, is answered and cut off, and others are served', async () => {
  const started = await ips.metric('process_start_time_seconds');
  // Connections that say nothing, and some that ask for much and read nothing.
  const many: Conversation[] = [
    ...Array<Conversation>(200).fill({ parts: [] }),
    ...Array<Conversation>(20).fill({ parts: ['GET /metrics HTTP/1.1\r\nHost: ips\r\n\r\n'.repeat(200)] }),
  ];
  const port = Number(new URL(ips.url).port);
  let over = false;
  const slowest = (async () => {
    let ms = 0;
    while (!over) {
      const before = performance.now();
      expect((await health()).status).toBe(200);
      const mine = await send(ips.url, {
        method: 'GET',
        path: `/api/v1/tasks?namespace=${kit.namespace}`,
        token,
      });
      expect(mine.status).toBe(200);
      ms = Math.max(ms, performance.now() - before);
    }
    return ms;
  })();
  const crowd = many.map((talk) => converse(port, { ...talk, giveUpMs: 12_000 }));
  const outcomes = await Promise.all(
    HOSTILE.map(async ({ what, talk, told, withinSeconds }) => {
      const { text, closed, seconds } = await converse(port, talk());
      const inTime = seconds < withinSeconds || `${seconds} s`;
      return { what, closed, inTime, told: told.test(text) || text.slice(0, 200) };
    }),
  );
  over = true;
  expect(outcomes).toEqual(HOSTILE.map(({ what }) => ({ what, closed: true, inTime: true, told: true })));
  expect(await slowest).toBeLessThan(5_000);
  expect((await Promise.all(crowd)).slice(0, 200).every(({ closed }) => closed)).toBe(true);
  expect((await health()).status).toBe(200);
  expect(await ips.metric('process_start_time_seconds')).toBe(started);
});

// The first time it is fetched, which may take a while.
test('schemathesis finds no fault', { timeout: 300_000 }, async () => {
  const cache = cacheDirectory();
  const st = (await run(join(import.meta.dirname, '../../scripts/schemathesis.sh'), [cache])).trim();
  const name = 'fuzzed';
  const task = { namespace: kit.namespace, name, images: [{ image: 'a' }], nodeName: 'no-such-node' };
  expect((await send(ips.url, { method: 'POST', path: '/api/v1/tasks', token, body: task })).status).toBe(
    201,
  );
  const document = await send(ips.url, { method: 'GET', path: '/api/v1/openapi.json', token });
  const folder = await mkdtemp(join(tmpdir(), 'ips-schemathesis-'));
  try {
    await writeFile(join(folder, 'openapi.json'), JSON.stringify(document.body));
    const args = [
      ...['run', 'openapi.json', '--url', ips.url, '--header', `Authorization: Bearer ${token}`],
      ...['--max-time', String(SCHEMATHESIS_SECONDS), '--max-examples', '50', '--generation-deterministic'],
      // A name may be of the right form and not be there, or not be free: not every valid request can succeed.
      ...['--checks', 'all', '--exclude-checks', 'positive_data_acceptance', '--no-color'],
      // It warns of what it could not reach, which depends on how far it gets in its time.
      ...['--warnings', 'off'],
    ];
    const env = {
      PATH: process.env['PATH'],
      HOME: folder,
      SCHEMATHESIS_HOOKS: 'schemathesis_hooks',
      PYTHONPATH: import.meta.dirname,
      PYTHONDONTWRITEBYTECODE: '1',
      FUZZ_NAMESPACE: kit.namespace,
      FUZZ_TASK: name,
    };
    const { stdout } = await promisify(execFile)(st, args, { cwd: folder, env, maxBuffer: 64 << 20 }).catch(
      (error: { stdout: string; stderr: string }) => {
        throw new Error(`schemathesis found something:\n${error.stdout}${error.stderr}`);
      },
    );
    expect(stdout).toContain('Tested: 6');
    const [, generated, passed] = /(\d+) generated, (\d+) passed/.exec(stdout) ?? [];
    expect([Number(generated) > 10, passed]).toEqual([true, generated]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  expect((await kit.tasks()).length, 'tasks that it made').toBeGreaterThan(5);
  expect((await health()).status).toBe(200);
  const failed = (await ips.logLines()).filter(({ msg }) => msg === 'request failed');
  expect(failed).toEqual([]);
});
