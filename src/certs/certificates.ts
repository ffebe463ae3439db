import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { KubeClient } from '../kube/client.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { createCaPublisher } from './ca-publisher.ts';
import { certificatesIn } from './certificate.ts';
import { readDirectory } from './certificate-directory.ts';
import { type CertificateSource, followCertificate, type ServingCertificate } from './certificate-source.ts';
import { ownAuthority } from './own-authority.ts';

export type Certificates = {
  /** Waits for the first certificate. What is wrong with CERT_DIR is thrown; our own authority is tried for again. */
  open(): Promise<CertificateSource>;
  /** Resolves once the API server can trust what is served. */
  untilPublished(): Promise<void>;
  /** The API server answers again: what was told meanwhile may be stuck in a connection that broke. */
  rewatch(): void;
  /** `ok`, or what is missing. */
  readiness(): string;
  close(): void;
};

const DIRECTORY_POLL_MS = 5_000;
const SECRET_POLL_MS = 10_000;
const FIRST_RETRY_MS = 2_000;

/** The certificate of admission, from CERT_DIR or our own authority, and the CA of it in the webhook configuration. */
export function createCertificates(options: {
  client: KubeClient;
  metrics: Pick<Metrics, 'certificateExpiry'>;
  config: {
    namespace: string;
    webhookConfiguration: string;
    webhookHosts: string[];
    certDir: string | undefined;
    certSecret: string;
  };
  now: () => Date;
  log: Logger;
}): Certificates {
  const { client, metrics, config, now, log } = options;
  const { namespace, certDir, certSecret: secretName } = config;
  const names = {
    dnsNames: config.webhookHosts.filter((host) => !isIP(host)),
    ipAddresses: config.webhookHosts.filter((host) => isIP(host)),
  };
  const stopped = new AbortController();
  const publisher = createCaPublisher({ client, name: config.webhookConfiguration, now, log });
  const read = certDir
    ? () => readDirectory(certDir, names, now())
    : ownAuthority({ client, namespace, secretName, names, isKnown: publisher.isSettled, now, log });
  let source: CertificateSource | undefined;
  let problem = 'there is no certificate yet';

  async function firstOfOwn(): Promise<ServingCertificate> {
    for (;;) {
      try {
        return await read();
      } catch (error) {
        problem = error instanceof Error ? error.message : String(error);
        log.error({ err: error }, 'no certificate, trying again');
        await sleep(FIRST_RETRY_MS, undefined, { signal: stopped.signal });
      }
    }
  }

  function tell({ cert, ca }: ServingCertificate): void {
    const { validToDate, fingerprint256: fingerprint } = new X509Certificate(cert);
    const authorities = certificatesIn(ca).map((each) => new X509Certificate(each).validToDate.getTime());
    metrics.certificateExpiry.set({ certificate: 'serving' }, validToDate.getTime() / 1000);
    metrics.certificateExpiry.set({ certificate: 'ca' }, Math.max(...authorities) / 1000);
    log.info({ fingerprint, notAfter: validToDate, authorities: authorities.length }, 'certificate in use');
  }

  return {
    async open() {
      const first = await (certDir ? read() : firstOfOwn());
      source = followCertificate(first, {
        ...{ read, trust: publisher },
        intervalMs: certDir ? DIRECTORY_POLL_MS : SECRET_POLL_MS,
        onError: (error) => log.error({ err: error }, 'certificate kept as it is'),
      });
      tell(first);
      source.onChange(tell);
      publisher.start();
      return source;
    },
    untilPublished: () => publisher.untilPublished(() => source?.current().cert ?? ''),
    rewatch: () => publisher.rewatch(),
    readiness() {
      if (!source) return problem;
      return publisher.isPublished(source.current().cert) ? 'ok' : publisher.problem();
    },
    close() {
      stopped.abort();
      source?.close();
      publisher.stop();
    },
  };
}
