import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { KubeClient } from '../kube/client.ts';
import { KubeError } from '../kube/errors.ts';
import { createInformer } from '../kube/informer.ts';
import { RESOURCES } from '../kube/resources.ts';
import {
  caBundlePatch,
  foreignAuthorities,
  noteSince,
  publishedAuthorities,
  type WebhookConfiguration,
} from './ca-bundle.ts';
import { isExpired, isTrusted } from './certificate.ts';
import type { Trust } from './certificate-source.ts';

export type CaPublisher = Trust & {
  start(): void;
  rewatch(): void;
  stop(): void;
  /** The API server accepts `cert`, as far as the webhook configuration tells. */
  isPublished(cert: string): boolean;
  /** Resolves once `isPublished`. */
  untilPublished(cert: () => string): Promise<void>;
  /** What keeps it from being published. */
  problem(): string;
};

/**
 * API servers learn of a new caBundle by their own watch: after 92 ms at most in 400 changes, half of them on a busy
 * machine (docs/adr/0009). One that lags for longer than 3 s refuses consistent reads too.
 */
const SETTLE_MS = 8_000;
/** A replica may serve the certificate of a CA that is no longer ours for as long as this; then the CA goes. */
const OVERLAP_MS = 24 * 60 * 60_000;
const RETRY_MS = 1_000;
/** At rest nothing is asked, only the clock looked at: CAs expire, and overlaps end. */
const CHECK_MS = 60_000;

/**
 * Keeps CAs in the caBundle of our webhook configuration, which is watched, by name: when they change, and when
 * somebody applied the manifest anew. CAs that it finds there stay for a day, or until they expire: another replica
 * may still be serving with them.
 */
export function createCaPublisher(options: {
  client: KubeClient;
  name: string;
  now: () => Date;
  log: Logger;
}): CaPublisher {
  const { client, name, now, log } = options;
  const about = { webhookConfiguration: name };
  const stopped = new AbortController();
  /** Since when each CA has stood in every webhook, and in some webhook without being ours; in ms of a steady clock. */
  const publishedSince = new Map<string, number>();
  const foreignSince = new Map<string, number>();
  let required: string[] = [];
  let problem = '';
  let woken = new AbortController();
  let waiting: { cert: () => string; resolve: () => void }[] = [];
  const informer = createInformer<WebhookConfiguration>({
    client,
    resource: RESOURCES.webhookConfigurations,
    fieldSelector: `metadata.name=${name}`,
    trim: ({ metadata, ...rest }) => ({ metadata, webhooks: (rest as WebhookConfiguration).webhooks ?? [] }),
    onChange: () => {
      note();
      woken.abort();
    },
    onError(error) {
      problem = messageOf(error);
      log.warn({ err: error, ...about }, 'watch of the webhook configuration');
    },
  });

  function note(): void {
    const configuration = informer.get(name);
    noteSince(publishedSince, publishedAuthorities(configuration), performance.now());
    noteSince(foreignSince, foreignAuthorities(configuration, required), performance.now());
    for (const { resolve } of waiting.filter(({ cert }) => isPublished(cert()))) resolve();
    waiting = waiting.filter(({ cert }) => !isPublished(cert()));
  }

  function retired(): string[] {
    const ended = performance.now() - OVERLAP_MS;
    return [...foreignSince]
      .filter(([ca, since]) => since <= ended || isExpired(ca, now()))
      .map(([ca]) => ca);
  }

  async function publish(): Promise<void> {
    note();
    const configuration = informer.get(name);
    const patch = configuration ? caBundlePatch(configuration, required, retired()) : [];
    if (patch.length > 0) {
      informer.put(await client.jsonPatch(RESOURCES.webhookConfigurations, undefined, name, patch));
      log.info({ ...about, authorities: required.length }, 'CA published');
      // Should somebody else keep overwriting it, this does not become a race.
      await sleep(RETRY_MS, undefined, { signal: stopped.signal });
    }
    problem = '';
  }

  function noteFailure(error: unknown): void {
    problem = messageOf(error);
    const raced = error instanceof KubeError && [409, 422].includes(error.status);
    if (raced) log.info(about, 'the webhook configuration changed meanwhile, looking again');
    else log.warn({ err: error, ...about }, 'CA not published, trying again');
  }

  async function run(): Promise<void> {
    await informer.start();
    while (!stopped.signal.aborted) {
      woken = new AbortController();
      let pause = CHECK_MS;
      try {
        await publish();
      } catch (error) {
        if (stopped.signal.aborted) return;
        noteFailure(error);
        pause = RETRY_MS;
      }
      const signal = AbortSignal.any([stopped.signal, woken.signal]);
      await sleep(pause, undefined, { signal }).catch(() => {});
    }
  }

  const isPublished = (cert: string) => isTrusted(cert, [...publishedSince.keys()]);
  return {
    start: () => void run(),
    rewatch: () => informer.rewatch(),
    stop() {
      stopped.abort();
      informer.stop();
    },
    require(authorities) {
      const isNew = authorities.join('') !== required.join('');
      required = authorities;
      if (isNew) woken.abort();
    },
    isPublished,
    isSettled(cert) {
      const settled = performance.now() - SETTLE_MS;
      return isTrusted(
        cert,
        [...publishedSince].filter(([, since]) => since <= settled).map(([ca]) => ca),
      );
    },
    untilPublished: (cert) =>
      new Promise((resolve) => {
        if (isPublished(cert())) resolve();
        else waiting.push({ cert, resolve });
      }),
    problem() {
      const what = `MutatingWebhookConfiguration ${name}`;
      if (!informer.hasSynced()) return `${what} cannot be read yet: ${problem}`;
      if (!informer.get(name)) return `${what} is not there: apply deploy/ again (kubectl apply -k deploy/)`;
      return `${what} does not have our CA yet${problem ? `: ${problem}` : ''}`;
    },
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
