import { request } from 'node:https';
import type { Review } from './reviews.ts';
import type { Server } from './servers.ts';

type Answer = { uid?: string; allowed?: boolean; patch?: unknown[]; warnings?: string[] };

/** Throws unless all servers, but for the floor, give the same answers: otherwise nothing is compared. */
export async function checkSameWork(servers: Server[], reviews: Review[]): Promise<void> {
  const workers = servers.filter(({ name }) => name !== 'floor');
  for (const review of reviews) {
    const answers = await Promise.all(workers.map((server) => ask(server, review)));
    const [first, ...others] = answers.map((answer) => JSON.stringify(answer));
    const odd = others.findIndex((other) => other !== first);
    if (odd >= 0)
      throw new Error(`${workers[0]?.name} answers ${first}, but ${workers[odd + 1]?.name} ${others[odd]}`);
  }
}

async function ask({ url }: Server, { body }: Review): Promise<Answer> {
  const { response } = JSON.parse(await post(url, body));
  const patch = response.patch && JSON.parse(Buffer.from(response.patch, 'base64').toString());
  return { uid: response.uid, allowed: response.allowed, patch, warnings: response.warnings };
}

function post(url: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    // It is our own process, whose certificate was made a moment ago.
    const options = {
      method: 'POST',
      rejectUnauthorized: false,
      headers: { 'content-type': 'application/json' },
    };
    const call = request(url, options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve(text));
    });
    call.on('error', reject);
    call.end(body);
  });
}
