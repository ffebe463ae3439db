export type RedisAddress = { host: string; port: number; tls: boolean };

export type AddressesResult = { addresses: RedisAddress[]; problems: string[] };

const PORT = 6379;

/** `host:port`, or `redis://host:port`, or by TLS `rediss://host:port`. The problems never tell a password. */
export function readRedisAddresses(texts: string[]): AddressesResult {
  const addresses: RedisAddress[] = [];
  const problems: string[] = [];
  for (const text of texts) {
    const read = readAddress(text);
    if (typeof read === 'string') problems.push(read);
    else if (addresses.some((each) => addressName(each) === addressName(read)))
      problems.push(`${addressName(read)} is named twice`);
    else addresses.push(read);
  }
  return { addresses, problems };
}

/** `host:port`, as logs and metrics name a server. */
export function addressName({ host, port }: RedisAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Why so many servers make no lock; undefined where they do. */
export function serverCountProblem(count: number): string | undefined {
  if ([0, 1, 3, 5].includes(count)) return undefined;
  if (count > 5) return `names ${count} servers: 1, 3 or 5 are enough`;
  return `names ${count} servers: a lock needs most of them, so ${count} bear no more failures than ${count - 1}; name 1, 3 or 5`;
}

function readAddress(text: string): RedisAddress | string {
  const url = parseUrl(text.includes('://') ? text : `redis://${text}`);
  if (url?.username || url?.password || text.includes('@'))
    return 'user and password do not belong into an address, which logs show: use REDIS_USERNAME and REDIS_PASSWORD';
  const isPlain = url && ['', '/'].includes(url.pathname) && !url.search && !url.hash && url.hostname;
  if (!isPlain || !['redis:', 'rediss:'].includes(url.protocol))
    return `${JSON.stringify(text)} is not host:port, redis://host:port or rediss://host:port`;
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, port: url.port ? Number(url.port) : PORT, tls: url.protocol === 'rediss:' };
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
