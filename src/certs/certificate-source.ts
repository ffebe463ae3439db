import { certificatesIn } from './certificate.ts';

/** What a TLS server presents (`cert`, a chain with the leaf first, and `key`) and what its clients trust (`ca`). PEM. */
export type ServingCertificate = { cert: string; key: string; ca: string };

/**
 * Where the TLS server's certificate comes from. To serve a renewed one without a restart:
 *
 *     const { cert, key } = source.current();
 *     const server = createSecureServer({ allowHTTP1: true, cert, key });
 *     source.onChange(({ cert, key }) => server.setSecureContext({ cert, key }));
 *
 * New connections then get the new certificate; open ones keep theirs. ALPN stays as it was, but every option of the
 * secure context itself (`minVersion`, `ciphers`) falls back to its default unless it is passed again. `ca` is for the
 * webhook configuration's `caBundle`, not for the server, which would only check client certificates with it.
 */
export type CertificateSource = {
  current(): ServingCertificate;
  onChange(listener: (certificate: ServingCertificate) => void): void;
  close(): void;
};

/** Where CAs are made known to clients. */
export type Trust = {
  /** Has these CAs published, each in PEM, and keeps them so until it is called again. */
  require(authorities: string[]): void;
  /** Every client has had the time to learn of a CA under which it accepts `cert`. */
  isSettled(cert: string): boolean;
};

/** How soon to look again while a certificate waits for its CA to be known. */
const PENDING_MS = 1_000;

/**
 * Serves `initial`, then asks `read` at each interval what to serve, one call at a time. A new certificate is taken
 * only when its CA has been made known beside that of the one in use, so at no moment is there one that clients do not
 * trust. What `read` throws leaves everything as it is; `onError` hears of each fault once until it is mended. The timer
 * does not keep the process alive.
 */
export function followCertificate(
  initial: ServingCertificate,
  options: {
    read: () => Promise<ServingCertificate>;
    trust: Trust;
    intervalMs: number;
    pendingMs?: number;
    onError: (error: Error) => void;
  },
): CertificateSource {
  const { read, trust, intervalMs, pendingMs = PENDING_MS, onError } = options;
  const listeners: ((certificate: ServingCertificate) => void)[] = [];
  let current = initial;
  let lastError: string | undefined;
  let closed = false;
  let timer: NodeJS.Timeout;

  async function poll(): Promise<void> {
    let pending = false;
    try {
      const found = await read();
      lastError = undefined;
      pending = !closed && !take(found);
    } catch (error) {
      const { message } = asError(error);
      if (!closed && message !== lastError) onError(asError(error));
      lastError = message;
    }
    if (!closed) schedule(pending ? pendingMs : intervalMs);
  }

  /** False where it has to wait. */
  function take(found: ServingCertificate): boolean {
    const isServed = found.cert === current.cert && found.key === current.key;
    const mayServe = isServed || trust.isSettled(found.cert);
    trust.require(certificatesIn(mayServe ? found.ca : current.ca + found.ca));
    if (mayServe && !(isServed && found.ca === current.ca)) publish(found);
    return mayServe;
  }

  function publish(certificate: ServingCertificate): void {
    current = certificate;
    for (const listener of listeners) {
      try {
        listener(certificate);
      } catch (error) {
        onError(asError(error));
      }
    }
  }

  function schedule(ms: number): void {
    timer = setTimeout(() => void poll(), ms).unref();
  }

  trust.require(certificatesIn(initial.ca));
  schedule(intervalMs);
  return {
    current: () => current,
    onChange: (listener) => void listeners.push(listener),
    close: () => {
      closed = true;
      clearTimeout(timer);
    },
  };
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
