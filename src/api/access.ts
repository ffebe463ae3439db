import { sha256, stableJson } from '../domain/fingerprint.ts';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import type { KubeClient } from '../kube/client.ts';
import { RESOURCES, type Resource } from '../kube/resources.ts';
import { unavailable } from './problem.ts';
import { createRecent } from './recent.ts';

/** Whom a token belongs to, as the API server tells it. */
export type Caller = {
  username: string;
  uid?: string;
  groups?: string[];
  extra?: Record<string, string[]>;
};

/** What a caller must be allowed in Kubernetes; without a namespace, in all of them. */
export type Demand = {
  verb: 'create' | 'get' | 'list' | 'update';
  group: '' | 'ips.dev';
  resource: 'prewarmtasks' | 'nodes';
  namespace?: string;
  name?: string;
};

export type Access = {
  /** Undefined where the API server does not know the token. Throws a 503 where it cannot be asked. */
  authenticate(token: string): Promise<Caller | undefined>;
  allows(caller: Caller, demand: Demand): Promise<boolean>;
};

type TokenReview = KubernetesObject & {
  spec: { token: string };
  status?: { authenticated?: boolean; user?: Caller };
};
type SubjectAccessReview = KubernetesObject & {
  spec: {
    user: string;
    uid?: string | undefined;
    groups?: string[] | undefined;
    extra?: Record<string, string[]> | undefined;
    resourceAttributes: Demand;
  };
  status?: { allowed?: boolean };
};

/** For this long a token or a right that was taken away still counts. */
const REMEMBERED_MS = 5_000;
const REMEMBERED = 1_000;
const ANSWER_MS = 10_000;
/** Reviews at the same time: who guesses tokens must not keep the API server busy. */
const MOST_AT_ONCE = 20;

/** Asks the API server who somebody is, and what they may: IPS has no users and no rules of its own. */
export function createAccess(options: { client: KubeClient; now: () => Date }): Access {
  const { client } = options;
  const memory = { ttlMs: REMEMBERED_MS, most: REMEMBERED, nowMs: () => options.now().getTime() };
  const callers = createRecent<Caller | undefined>(memory);
  const decisions = createRecent<boolean>(memory);
  let asking = 0;

  async function review<T extends KubernetesObject>(resource: Resource, object: T): Promise<T> {
    if (asking >= MOST_AT_ONCE) throw unavailable('too many requests wait for the API server; try again');
    asking += 1;
    const answer = client.create(resource, undefined, object).finally(() => {
      asking -= 1;
    });
    return inTime(answer).catch((error: unknown) => {
      throw unavailable('the API server cannot be asked who you are and what you may; try again', error);
    });
  }

  return {
    // The hash is the key: tokens are not kept.
    authenticate: (token) =>
      callers(sha256(token), async () => {
        const asked: TokenReview = { ...kind('authentication', 'TokenReview'), spec: { token } };
        const { status } = await review(RESOURCES.tokenReviews, asked);
        return status?.authenticated ? status.user : undefined;
      }),
    allows: (caller, demand) =>
      decisions(sha256(stableJson({ caller, demand })), async () => {
        const { username: user, uid, groups, extra } = caller;
        const asked: SubjectAccessReview = {
          ...kind('authorization', 'SubjectAccessReview'),
          spec: { user, uid, groups, extra, resourceAttributes: demand },
        };
        const { status } = await review(RESOURCES.subjectAccessReviews, asked);
        return status?.allowed === true;
      }),
  };
}

function kind(group: string, name: string) {
  return { apiVersion: `${group}.k8s.io/v1`, kind: name, metadata: {} };
}

async function inTime<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS} ms`)), ANSWER_MS);
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}
