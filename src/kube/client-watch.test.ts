import { createServer } from 'node:http';
import { expect, it } from 'vitest';
import { listening } from './api-server.simulation.ts';
import { RESOURCES } from './resources.ts';

it('lets others have their turn while thousands of changes come at once', async () => {
  const events = Array.from({ length: 300 }, (_, index) => ({
    type: 'ADDED',
    object: { metadata: { name: `node-${index}` } },
  }));
  const body = events.map((event) => `${JSON.stringify(event)}\n`).join('');
  const { client } = await listening(createServer((_request, response) => response.end(body)));
  const inTurn: number[] = [];
  let turn = 0;
  let ended = false;
  const count = () => {
    turn += 1;
    if (!ended) setImmediate(count);
  };
  count();
  const onEvent = () => {
    const untilMs = performance.now() + 1;
    while (performance.now() < untilMs);
    inTurn[turn] = (inTurn[turn] ?? 0) + 1;
  };
  await client.watch(RESOURCES.nodes, {}, onEvent, new AbortController().signal);
  ended = true;
  expect(inTurn.reduce((sum, each) => sum + each, 0)).toBe(events.length);
  expect(Math.max(...inTurn.filter(Boolean))).toBeLessThan(50);
});
