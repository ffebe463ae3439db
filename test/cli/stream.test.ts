import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { waitFor } from '../cluster/run.ts';
import { answers, ended, IPS, start } from './process.ts';

/** `ips plan --stream` as a process: order, mistakes, and what pipes do. */

const NODES = [{ metadata: { name: 'b' } }, { metadata: { name: 'a' }, spec: { unschedulable: true } }];
const line = (id: unknown, image = 'nginx:1') =>
  JSON.stringify({ id, podSpec: { containers: [{ name: 'c', image }] }, nodes: NODES });
const answer = (id: unknown) => ({
  ...{ id, images: ['docker.io/library/nginx:1'], nodes: ['b'], warnings: [] },
  skipped: [{ node: 'a', reason: 'node is cordoned' }],
});

test('answers every line in order, bad ones with an error, whatever the line ends are', async () => {
  const input = `${line(1)}\r\n\r\n\nnonsense\n${line('two')}\n{"id":3}\n\uFEFF${line(null)}\n${line(5)}`;
  expect(await answers(input)).toEqual([
    answer(1),
    { id: null, error: expect.stringContaining('JSON') },
    answer('two'),
    { id: 3, error: expect.any(String) },
    answer(null),
    answer(5),
  ]);
});

test('answers at once, before the input ends', async () => {
  const child = start(IPS, ['plan', '--stream']);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  for (const id of [1, 2, 3]) {
    child.stdin.write(`${line(id)}\n`);
    expect(JSON.parse((await lines.next()).value ?? '')).toEqual(answer(id));
  }
  child.stdin.end();
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test('ends quietly when nobody reads on', async () => {
  const child = start(IPS, ['plan', '--stream']);
  let stderr = '';
  child.stderr.on('data', (text: Buffer) => {
    stderr += text;
  });
  child.stdin.write(`${line(1)}\n`.repeat(1000));
  await once(child.stdout, 'data');
  child.stdout.destroy();
  const exit = once(child, 'exit');
  // Its input stays open: it must not wait for more.
  const writing = setInterval(() => child.stdin.write(`${line(2)}\n`.repeat(100)), 50);
  expect(await exit).toEqual([0, null]);
  clearInterval(writing);
  expect(stderr).toBe('');
});

test('takes no more than it can get rid of, and loses nothing', async () => {
  const child = start(IPS, ['plan', '--stream']);
  const count = 20_000;
  let accepted = 0;
  const writing = (async () => {
    for (let id = 0; id < count; id++) {
      if (!child.stdin.write(`${line(id)}\n`)) await once(child.stdin, 'drain');
      accepted = id;
    }
    child.stdin.end();
  })();
  // Nobody reads its answers, once there are some: what it accepts has to come to a stop.
  await once(child.stdout, 'readable');
  let before = -1;
  await waitFor(
    'the stream to hold up its writer',
    async () => {
      const stopped = accepted > 0 && accepted === before;
      before = accepted;
      return stopped;
    },
    { timeoutMs: 60_000, everyMs: 1_000 },
  );
  expect(accepted).toBeLessThan(count - 1);
  const [{ stdout, code }] = await Promise.all([ended(child), writing]);
  expect(code).toBe(0);
  const ids = stdout
    .split('\n')
    .filter(Boolean)
    .map((each) => (JSON.parse(each) as { id: number }).id);
  expect(ids).toEqual(Array.from({ length: count }, (_, id) => id));
});

test('answers a line of 20 MB, and those beside it', async () => {
  const labels = Object.fromEntries(
    Array.from({ length: 50 }, (_, index) => [`label-${index}`, 'x'.repeat(50)]),
  );
  const nodes = Array.from({ length: 6400 }, (_, index) => ({ metadata: { name: `n${index}`, labels } }));
  const long = JSON.stringify({ id: 'long', podSpec: { nodeName: 'n7' }, nodes });
  expect(long.length).toBeGreaterThan(20_000_000);
  const [first, second, third] = await answers(`${line(1)}\n${long}\n${line(3)}\n`);
  expect([first, third]).toEqual([answer(1), answer(3)]);
  expect(second).toMatchObject({ id: 'long', nodes: ['n7'] });
});

test('is ended by a signal as any program', async () => {
  const child = start(IPS, ['plan', '--stream']);
  child.stdin.write(`${line(1)}\n`);
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([null, 'SIGTERM']);
});
