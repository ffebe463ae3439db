import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { createAdmissionServer } from './admission/server.ts';
import { createAccess } from './api/access.ts';
import { createApiServer } from './api/server.ts';
import { createState } from './api/state.ts';
import { createCertificates } from './certs/certificates.ts';
import type { Config } from './config.ts';
import { createController } from './controller/controller.ts';
import { createCoordination } from './coordination/coordination.ts';
import { workloadTypes } from './domain/workload-types.ts';
import { createKubeClient } from './kube/client.ts';
import { loadKubeConfig } from './kube/config.ts';
import { createLeaseApi } from './kube/lease.ts';
import { createServerClock } from './kube/server-clock.ts';
import { createMetrics } from './metrics/metrics.ts';

export type App = { stop(): Promise<void> };

/** A slow API server must not keep admission from an orderly end: what loops leave undone is done by the next replica. */
const LOOPS_MS = 7_000;

/**
 * Wires everything and starts it. Returns when the ports are open, that of admission once there is a certificate; the
 * rest comes up behind. /readyz tells from the beginning what is still missing.
 */
export async function startApp(
  config: Config,
  { version, userAgent }: { version: string; userAgent: string },
  log: Logger,
): Promise<App> {
  const clock = createServerClock((milliseconds) =>
    log.warn({ seconds: milliseconds / 1000 }, 'the clock is not that of the API server, which is gone by'),
  );
  const { now } = clock;
  let ending = false;
  const metrics = createMetrics({ version });
  const types = workloadTypes(config.customWorkloads);
  const client = createKubeClient(loadKubeConfig(config.kubeconfig), {
    userAgent,
    onDate: clock.note,
    onReturn(awayMs) {
      certificates.rewatch();
      controller.catchUp(awayMs);
    },
  });
  const certificates = createCertificates({ client, metrics, config, now, log });
  const coordination = createCoordination(config, {
    identity: `${hostname()}-${randomBytes(4).toString('hex')}`,
    leaseApi: createLeaseApi(client, config.namespace),
    now,
    onPart({ name, problem }) {
      metrics.coordinationUp.set({ part: name }, problem === undefined ? 1 : 0);
      if (problem === undefined) log.info({ part: name }, 'coordination works');
      else log.warn({ part: name, problem }, 'coordination is away: the work goes on without it');
    },
  });
  for (const { name, problem } of coordination.parts())
    metrics.coordinationUp.set({ part: name }, problem === undefined ? 1 : 0);
  const controller = createController({
    ...{ client, types, metrics, now, log },
    excludedNamespaces: config.excludedNamespaces,
    maxActiveTasks: config.maxActiveTasks,
    coordination: { ...coordination, shared: config.coordination !== 'memory' },
    resyncSeconds: config.resyncSeconds,
    collectedRetrySeconds: config.collectedRetrySeconds,
    warmer: {
      strategy: config.pullStrategy,
      workerImage: config.workerImage,
      workerImageLegacy: config.workerImageLegacy,
      priorityClassName: config.warmerPriorityClass,
    },
  });
  const api = await createApiServer({
    ...{ version, log },
    access: createAccess({ client, now }),
    state: createState({ client, ...controller }),
    registry: metrics.registry,
    readiness: () => {
      const needed = {
        ...(ending ? { ending: 'this replica was told to end' } : {}),
        informers: controller.hasSynced() ? 'ok' : 'not synced with the API server yet',
        authority: certificates.readiness(),
      };
      const ready = Object.values(needed).every((check) => check === 'ok');
      // Told, but not needed: all replicas would leave their Service at once, and nobody admit.
      return { ready, checks: { ...needed, coordination: coordination.health() } };
    },
  });
  const http = await listen(api, config.serverPort);
  const admission = createAdmissionServer({
    certificates: await certificates.open(),
    types,
    excludedNamespaces: config.excludedNamespaces,
    drainMs: config.drainSeconds * 1000,
    observe(result, seconds, error) {
      if (error) log.error({ err: error }, 'admission failed');
      metrics.admissionRequests.inc({ result });
      metrics.admissionDuration.observe(seconds);
    },
  });
  const webhook = await listen(admission, config.webhookPort);
  log.info({ webhook, http, namespace: config.namespace }, 'listening');
  // Without the webhook, warmers would not be pinned to their nodes: no work before it can be called.
  const started = certificates.untilPublished().then(() => controller.start());
  started.catch((error: unknown) => log.error({ err: error }, 'the controller did not start'));
  return {
    async stop() {
      ending = true;
      certificates.close();
      const loops = Promise.race([controller.stop(), sleep(LOOPS_MS, undefined, { ref: false })]).then(() =>
        coordination.close(),
      );
      // Probes are answered as long as admissions are.
      await Promise.all([loops, admission.close()]);
      await api.close();
    },
  };
}

type Listener = { listen(options: { port: number; host: string }): Promise<string> };

async function listen(server: Listener, port: number): Promise<string> {
  return server.listen({ port, host: '::' }).catch((error: NodeJS.ErrnoException) => {
    // Machines without IPv6 have no such address.
    if (error.code === 'EAFNOSUPPORT' || error.code === 'EADDRNOTAVAIL')
      return server.listen({ port, host: '0.0.0.0' });
    throw error;
  });
}
