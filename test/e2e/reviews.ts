import { Agent, request } from 'node:https';
import type { Replica } from './replicas.ts';

const REVIEW = JSON.stringify({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: {
    ...{ uid: 'u1', operation: 'CREATE', namespace: 'shop', name: 'web' },
    kind: { group: 'apps', version: 'v1', kind: 'Deployment' },
    object: { metadata: { name: 'web', namespace: 'shop', annotations: { 'ips/prewarm': 'true' } } },
  },
});

/** Asks one replica for an admission, on a connection of its own choice; gives how many ms the answer took. */
export async function review({ ips }: Replica, agent: Agent): Promise<number> {
  const begun = performance.now();
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const outgoing = request(
      {
        ...{ host: '127.0.0.1', port: ips.webhookPort, path: '/mutate', method: 'POST', agent },
        headers: { 'content-type': 'application/json' },
      },
      (answer) => answer.resume().on('end', () => resolve(answer.statusCode)),
    );
    outgoing.on('error', reject);
    outgoing.end(REVIEW);
  });
  if (status !== 200) throw new Error(`an admission review was answered by ${status}`);
  return performance.now() - begun;
}

/** The quickest of many reviews by each replica, in ms: what else the machine does does not count in it. */
export async function quickestReviews(replicas: Replica[], count: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
  const quickest = replicas.map(() => Number.POSITIVE_INFINITY);
  for (let times = 0; times < count; times += 1)
    for (const [index, replica] of replicas.entries())
      quickest[index] = Math.min(quickest[index] ?? 0, await review(replica, agent));
  agent.destroy();
  return quickest;
}

/** A review that is in flight: its head has been taken in, its body is yet to come. */
export type HalfReview = { finish(): Promise<number | undefined> };

export function beginReview({ ips }: Replica): Promise<HalfReview> {
  const outgoing = request({
    ...{ host: '127.0.0.1', port: ips.webhookPort, path: '/mutate', method: 'POST' },
    ...{ agent: false, rejectUnauthorized: false },
    // The answer to this says that the head is there.
    headers: { 'content-type': 'application/json', expect: '100-continue' },
  });
  const answered = new Promise<number | undefined>((resolve, reject) => {
    outgoing.on('response', (answer) => answer.resume().on('end', () => resolve(answer.statusCode)));
    outgoing.on('error', reject);
  });
  answered.catch(() => {}); // whoever finishes it is told
  outgoing.flushHeaders();
  return new Promise((resolve, reject) => {
    outgoing.on('error', reject);
    outgoing.on('continue', () =>
      resolve({
        finish() {
          outgoing.end(REVIEW);
          return answered;
        },
      }),
    );
  });
}
