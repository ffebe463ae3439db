import { isIP } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { createAdmissionServer } from './admission/server.ts';
import { createAccess } from './api/access.ts';
import { createApiServer } from './api/server.ts';
import { createState } from './api/state.ts';
import { caBundlePatch, type WebhookConfiguration } from './certs/ca-bundle.ts';
import { type CertificateSource, directorySource, ownAuthoritySource } from './certs/certificate-source.ts';
import type { Config } from './config.ts';
import { createController } from './controller/controller.ts';
import { createKubeClient, type KubeClient } from './kube/client.ts';
import { loadKubeConfig } from './kube/config.ts';
import { RESOURCES } from './kube/resources.ts';
import { createMetrics } from './metrics/metrics.ts';

export type App = { stop(): Promise<void> };

const CA_RETRY_MS = 1_000;
const CA_CHECK_MS = 60_000;

/** Wires everything and starts it. Returns when the ports are open; the rest comes up behind, as /readyz tells. */
export async function startApp(config: Config, version: string, log: Logger): Promise<App> {
  const now = () => new Date();
  const metrics = createMetrics({ version });
  const client = createKubeClient(loadKubeConfig(config.kubeconfig));
  const certificates = await certificateSource(config, log);
  const authority = publishAuthority(client, config.webhookConfiguration, certificates, log);
  const controller = createController({
    ...{ client, metrics, now, log },
    excludedNamespaces: config.excludedNamespaces,
    maxActiveTasks: config.maxActiveTasks,
    maxConcurrentPulls: config.maxConcurrentPulls,
    resyncSeconds: config.resyncSeconds,
    warmer: { workerImage: config.workerImage, priorityClassName: config.warmerPriorityClass },
  });
  const admission = await createAdmissionServer({
    certificates,
    excludedNamespaces: config.excludedNamespaces,
    observe(result, seconds) {
      metrics.admissionRequests.inc({ result });
      metrics.admissionDuration.observe(seconds);
    },
  });
  const api = await createApiServer({
    ...{ version, log },
    access: createAccess({ client, now }),
    state: createState({ client, ...controller }),
    registry: metrics.registry,
    readiness: () => {
      const checks = {
        informers: controller.hasSynced() ? 'ok' : 'not synced with the API server yet',
        authority: authority.published()
          ? 'ok'
          : `MutatingWebhookConfiguration ${config.webhookConfiguration} does not have our CA yet`,
      };
      return { ready: Object.values(checks).every((check) => check === 'ok'), checks };
    },
  });
  const [webhook, http] = await Promise.all([
    listen(admission, config.webhookPort),
    listen(api, config.serverPort),
  ]);
  log.info({ webhook, http, namespace: config.namespace }, 'listening');
  // Without the webhook, warmers would not be pinned to their nodes: no work before it can be called.
  const started = authority.start().then(() => controller.start());
  started.catch((error: unknown) => log.error({ err: error }, 'the controller did not start'));
  return {
    async stop() {
      authority.stop();
      certificates.close();
      // Admission goes last but one: what is in flight is answered while the loops wind up.
      await controller.stop();
      await Promise.all([admission.close(), api.close()]);
    },
  };
}

async function listen(server: FastifyInstance, port: number): Promise<string> {
  return server.listen({ port, host: '::' }).catch((error: NodeJS.ErrnoException) => {
    // Machines without IPv6 have no such address.
    if (error.code === 'EAFNOSUPPORT' || error.code === 'EADDRNOTAVAIL')
      return server.listen({ port, host: '0.0.0.0' });
    throw error;
  });
}

function certificateSource(config: Config, log: Logger): Promise<CertificateSource> {
  const onError = (error: Error) => log.error({ err: error }, 'certificate');
  if (config.certDir) return directorySource({ directory: config.certDir, onError });
  const ipAddresses = config.webhookHosts.filter((host) => isIP(host));
  const dnsNames = config.webhookHosts.filter((host) => !isIP(host));
  return ownAuthoritySource({ dnsNames, ipAddresses, onError });
}

type AuthorityPublisher = {
  /** Resolves once the CA is published; goes on keeping it so. */
  start(): Promise<void>;
  stop(): void;
  published(): boolean;
};

/** Keeps our CA in the webhook configuration: at the start, when it changes, and when somebody applied the manifest anew. */
function publishAuthority(
  client: KubeClient,
  name: string,
  certificates: CertificateSource,
  log: Logger,
): AuthorityPublisher {
  const stopped = new AbortController();
  let published = false;
  let changed = new AbortController();

  async function publish(): Promise<void> {
    const configuration = await client.get<WebhookConfiguration>(
      RESOURCES.webhookConfigurations,
      undefined,
      name,
    );
    const patch = caBundlePatch(configuration, certificates.current().ca);
    if (patch.length > 0) {
      await client.jsonPatch(RESOURCES.webhookConfigurations, undefined, name, patch);
      log.info({ webhookConfiguration: name }, 'CA published');
    }
  }

  async function run(onFirst: () => void): Promise<void> {
    while (!stopped.signal.aborted) {
      changed = new AbortController();
      try {
        await publish();
        published = true;
        onFirst();
      } catch (error) {
        published = false;
        log.warn({ err: error, webhookConfiguration: name }, 'CA not published, trying again');
      }
      const signal = AbortSignal.any([stopped.signal, changed.signal]);
      await sleep(published ? CA_CHECK_MS : CA_RETRY_MS, undefined, { signal }).catch(() => {});
    }
  }

  certificates.onChange(() => changed.abort());
  return {
    start: () => new Promise((resolve) => void run(resolve)),
    stop: () => stopped.abort(),
    published: () => published,
  };
}
