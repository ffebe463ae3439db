import { KubeConfig } from '@kubernetes/client-node';
import { expect, it } from 'vitest';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import { createKubeClient, type KubeClient } from '../kube/client.ts';
import type { Resource } from '../kube/resources.ts';
import { createAccess, type Demand } from './access.ts';

const LIST: Demand = { verb: 'list', group: 'ips.dev', resource: 'prewarmtasks', namespace: 'shop' };
const JANE = { username: 'jane', uid: 'u1', groups: ['team'], extra: { 'example.com/scope': ['a'] } };

type Review = { resource: string; spec: object };

/** Answers reviews by hand, when it is told to. */
function start(answer: (review: Review) => object | Promise<object>) {
  const clock = { ms: 0 };
  const reviews: Review[] = [];
  const client = {
    async create(
      resource: Resource,
      namespace: string | undefined,
      object: KubernetesObject & { spec: object },
    ) {
      expect(namespace).toBeUndefined();
      const review = { resource: `${resource.apiVersion}/${resource.plural}`, spec: object.spec };
      reviews.push(review);
      return { ...object, status: await answer(review) };
    },
  } as unknown as KubeClient;
  return { clock, reviews, access: createAccess({ client, now: () => new Date(clock.ms) }) };
}

it('asks who it is, and whether that one may, with all that the API server told of them', async () => {
  const { access, reviews } = start(({ resource }) =>
    resource.endsWith('tokenreviews') ? { authenticated: true, user: JANE } : { allowed: true },
  );
  const caller = await access.authenticate('t1');
  expect(caller).toEqual(JANE);
  expect(await access.allows(JANE, LIST)).toBe(true);
  expect(reviews).toEqual([
    { resource: 'authentication.k8s.io/v1/tokenreviews', spec: { token: 't1' } },
    {
      resource: 'authorization.k8s.io/v1/subjectaccessreviews',
      spec: { user: 'jane', uid: 'u1', groups: ['team'], extra: JANE.extra, resourceAttributes: LIST },
    },
  ]);
});

it('remembers an answer for five seconds, for the same token, the same caller and the same right', async () => {
  const { access, reviews, clock } = start(({ resource }) =>
    resource.endsWith('tokenreviews') ? { authenticated: true, user: JANE } : { allowed: true },
  );
  for (const ms of [0, 4_999]) {
    clock.ms = ms;
    await access.authenticate('t1');
    await access.allows(JANE, LIST);
  }
  expect(reviews).toHaveLength(2);
  await access.authenticate('t2');
  await access.allows({ ...JANE, groups: [] }, LIST);
  await access.allows(JANE, { ...LIST, namespace: 'other' });
  await access.allows(JANE, { ...LIST, verb: 'create' });
  expect(reviews).toHaveLength(6);
  clock.ms = 5_000;
  await access.authenticate('t1');
  await access.allows(JANE, LIST);
  expect(reviews).toHaveLength(8);
});

it.each([
  { what: 'no status', status: {} },
  { what: 'not authenticated, not allowed', status: { authenticated: false, user: JANE, allowed: false } },
  { what: 'no opinion', status: { allowed: 'yes' } },
])('lets nobody in: $what', async ({ status }) => {
  const { access } = start(() => status);
  expect(await access.authenticate('t1')).toBeUndefined();
  expect(await access.allows(JANE, LIST)).toBe(false);
});

it('asks at most twenty things at once, and refuses the rest', async () => {
  const answers: ((status: object) => void)[] = [];
  const { access } = start(() => new Promise((resolve) => answers.push(resolve)));
  const first = Array.from({ length: 20 }, (_, index) => access.authenticate(`t${index}`));
  await expect(access.authenticate('t20')).rejects.toMatchObject({ status: 503 });
  for (const resolve of answers) resolve({ authenticated: true, user: JANE });
  await Promise.all(first);
  const later = access.authenticate('t20');
  answers.at(-1)?.({ authenticated: true, user: JANE });
  expect(await later).toEqual(JANE);
});

it('where the API server cannot be reached nobody is let in, and the problem says so', async () => {
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [{ name: 'none', server: 'http://127.0.0.1:9', skipTLSVerify: false }],
    users: [{ name: 'none' }],
    contexts: [{ name: 'none', cluster: 'none', user: 'none' }],
    currentContext: 'none',
  });
  const access = createAccess({
    client: createKubeClient(config, { userAgent: 'test' }),
    now: () => new Date(),
  });
  const problem = {
    status: 503,
    headers: { 'retry-after': '2' },
    message: expect.stringMatching(/try again$/),
  };
  await expect(access.authenticate('t1')).rejects.toMatchObject(problem);
  await expect(access.allows(JANE, LIST)).rejects.toMatchObject(problem);
});
