import type { Logger } from 'pino';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import type { KubeClient } from '../kube/client.ts';
import { isConflict, isNotFound } from '../kube/errors.ts';
import { RESOURCES } from '../kube/resources.ts';
import { type AuthorityState, dueStep, fromSecretData, takeStep, toSecretData } from './authority-state.ts';
import type { ServerNames } from './certificate.ts';
import { CertificateError } from './certificate-error.ts';
import type { ServingCertificate } from './certificate-source.ts';

type Secret = KubernetesObject & { data?: Record<string, string> };

/** Two steps at most are due at once, and a replica that was first leaves none of them. */
const MOST_READS = 10;

/**
 * Our own authority: CA and serving certificate in one Secret that all replicas share. Reading it takes what steps are
 * due, each fenced by the version that was read: of several replicas one writes, the others take what it wrote.
 * @throws CertificateError IPS_CERT_SECRET_MISSING
 */
export function ownAuthority(options: {
  client: Pick<KubeClient, 'get' | 'replace'>;
  namespace: string;
  secretName: string;
  names: ServerNames;
  isKnown: (ca: string) => boolean;
  now: () => Date;
  log: Logger;
}): () => Promise<ServingCertificate> {
  const { client, namespace, secretName, names, isKnown, now, log } = options;
  const about = { secret: `${namespace}/${secretName}` };

  /** False where another replica was first. */
  async function write(secret: Secret, state: AuthorityState): Promise<boolean> {
    try {
      await client.replace<Secret>(RESOURCES.secrets, { ...secret, data: toSecretData(state) });
      return true;
    } catch (error) {
      if (!isConflict(error)) throw error;
      log.info(about, 'another replica wrote the certificates first');
      return false;
    }
  }

  /** What to serve; undefined where the Secret was changed, and has to be read again. */
  async function readOnce(): Promise<ServingCertificate | undefined> {
    const secret = await getSecret(client, namespace, secretName);
    const { state, problem } = fromSecretData(secret.data);
    const step = dueStep(state, { names, now: now(), isKnown });
    if (step) {
      const isWritten = await write(secret, await takeStep(step, state, { names, now: now() }));
      if (isWritten) log.info({ ...about, step, ...(problem ? { problem } : {}) }, 'certificates written');
      return undefined;
    }
    return state && { ...state.serving, ca: state.authority.cert + (state.next?.cert ?? '') };
  }

  return async function read() {
    for (let times = 0; times < MOST_READS; times += 1) {
      const found = await readOnce();
      if (found) return found;
    }
    throw new Error(`Secret ${about.secret} changes faster than it can be read`);
  };
}

async function getSecret(client: Pick<KubeClient, 'get'>, namespace: string, name: string): Promise<Secret> {
  try {
    return await client.get<Secret>(RESOURCES.secrets, namespace, name);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new CertificateError(
      'IPS_CERT_SECRET_MISSING',
      `Secret ${namespace}/${name} is missing: apply deploy/ again (kubectl apply -k deploy/), which has it empty, since IPS may not create Secrets; or set CERT_SECRET.`,
      error,
    );
  }
}
