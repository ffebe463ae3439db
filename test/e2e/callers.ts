import { createSign, generateKeyPairSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { type Cluster, kubectl } from '../cluster/cluster.ts';
import { waitFor } from '../cluster/run.ts';

/** Who calls the REST API, with real tokens of real service accounts and with wrong ones. */

export type Answer = {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: unknown;
};
export type Call = { method: string; path: string; token?: string | undefined; body?: unknown };

/** Not fetch: that refuses TRACE. */
export function send(url: string, { method, path, token, body }: Call): Promise<Answer> {
  const headers = {
    ...(token ? { authorization: `Bearer ${token}` } : {}),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(url + path, { method, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('end', () => {
        const json = /json/.test(answer.headers['content-type'] ?? '') && text !== '';
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: json ? JSON.parse(text) : text,
        });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** A service account, with a role in its namespace, in the whole cluster, or without one; gives its token. */
export async function createCaller(
  cluster: Cluster,
  options: { namespace: string; name: string; role?: string; everywhere?: boolean },
): Promise<string> {
  const { namespace, name, role, everywhere } = options;
  await kubectl(cluster, ['--namespace', namespace, 'create', 'serviceaccount', name]);
  const binding = everywhere ? 'clusterrolebinding' : 'rolebinding';
  const subject = [`--clusterrole=${role}`, `--serviceaccount=${namespace}:${name}`];
  if (role)
    await kubectl(cluster, ['--namespace', namespace, 'create', binding, `${namespace}-${name}`, ...subject]);
  return (await kubectl(cluster, ['--namespace', namespace, 'create', 'token', name])).trim();
}

/** The API server takes a moment to know a new role, and IPS remembers a refusal for five seconds. */
export async function waitForRole(url: string, token: string, query: string): Promise<void> {
  const path = `/api/v1/tasks${query}`;
  const listed = async () => (await send(url, { method: 'GET', path, token })).status === 200;
  await waitFor('the new role to count', listed);
}

/**
 * A token as the API server signs them. It gives none that lives for less than ten minutes, so one that has expired is
 * signed here, with the cluster's own key, and a forged one with another key.
 */
export async function signToken(
  cluster: Cluster,
  account: { namespace: string; name: string },
  options: { expiresInSeconds: number; key?: 'own' | 'another' | 'none' },
): Promise<string> {
  const { namespace, name } = account;
  const uid = await kubectl(cluster, [
    ...['--namespace', namespace, 'get', 'serviceaccount', name, '-o', 'jsonpath={.metadata.uid}'],
  ]);
  const now = Math.floor(Date.now() / 1000);
  const issuer = 'https://kubernetes.default.svc';
  const claims = {
    ...{ iss: issuer, aud: [issuer], sub: `system:serviceaccount:${namespace}:${name}` },
    ...{ iat: now - 3600, nbf: now - 3600, exp: now + options.expiresInSeconds },
    'kubernetes.io': { namespace, serviceaccount: { name, uid } },
  };
  const unsigned = options.key === 'none';
  const parts = [{ alg: unsigned ? 'none' : 'RS256', typ: 'JWT' }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  );
  if (unsigned) return `${parts.join('.')}.`;
  const key =
    options.key === 'another'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
      : await readFile(join(cluster.folder, 'pki/service-account.key'), 'utf8');
  const signature = createSign('RSA-SHA256').update(parts.join('.')).sign(key).toString('base64url');
  return `${parts.join('.')}.${signature}`;
}
