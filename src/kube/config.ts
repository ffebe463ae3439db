import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { KubeConfig, type RequestContext } from '@kubernetes/client-node';

/**
 * The library opens a connection for every call, because it makes a dispatcher for each. This one keeps the first as
 * long as what it was made from stays the same: the authority and the client certificate.
 */
class SharedConnectionConfig extends KubeConfig {
  private kept: { madeFrom: string; dispatcher: ReturnType<RequestContext['getDispatcher']> } | undefined;

  override async applySecurityAuthentication(context: RequestContext): Promise<void> {
    await super.applySecurityAuthentication(context);
    const madeFrom = this.connectionIdentity();
    if (this.kept?.madeFrom !== madeFrom) this.kept = { madeFrom, dispatcher: context.getDispatcher() };
    if (this.kept.dispatcher) context.setDispatcher(this.kept.dispatcher);
  }

  drop(): void {
    const { dispatcher } = this.kept ?? {};
    this.kept = undefined;
    // What waits on it fails now, and is tried again on another.
    dispatcher?.destroy().catch(() => {});
  }

  private connectionIdentity(): string {
    const cluster = this.getCurrentCluster();
    const user = this.getCurrentUser();
    const files = [cluster?.caFile, user?.certFile, user?.keyFile].map(
      (file) => file && `${file}@${statSync(file).mtimeMs}`,
    );
    return JSON.stringify([cluster?.server, cluster?.caData, user?.certData, ...files]);
  }
}

/**
 * Lets the next request open a connection of its own. A process that was stopped while the API server died may never be
 * told so: its HTTP/2 session stays open on a dead socket, and every request waits in it.
 */
export function dropConnections(config: KubeConfig): void {
  if (config instanceof SharedConnectionConfig) config.drop();
}

/** The API server's address and our credentials: from `file` where it is given, else from the pod IPS runs in. */
export function loadKubeConfig(file: string | undefined): KubeConfig {
  const config = new SharedConnectionConfig();
  if (file) readInto(config, file);
  else if (process.env['KUBERNETES_SERVICE_HOST']) config.loadFromCluster();
  else
    throw new Error(
      'KUBECONFIG (--kubeconfig) is not set, and this is not a pod of a cluster: there is no API server to talk to',
    );
  return config;
}

function readInto(config: KubeConfig, file: string): void {
  try {
    config.loadFromFile(file);
  } catch (error) {
    const why = error instanceof Error ? error.message : error;
    throw new Error(`KUBECONFIG (--kubeconfig) cannot be read: ${why}`);
  }
  if (!config.getCurrentCluster())
    throw new Error(`KUBECONFIG (--kubeconfig): ${file} has no current context with a cluster`);
}

/**
 * As kubectl finds it: `file`, else what KUBECONFIG names (several files are merged), else ~/.kube/config; then the
 * context that is named, else the current one.
 */
export function loadUserKubeConfig(file: string | undefined, context: string | undefined): KubeConfig {
  const named = file || process.env['KUBECONFIG'] || join(homedir(), '.kube/config');
  const files = file ? [file] : named.split(delimiter).filter((each) => each && existsSync(each));
  const [first, ...others] = files.length > 0 ? files : [named];
  const config = new SharedConnectionConfig();
  config.loadFromFile(first ?? named);
  for (const each of others) {
    const other = new KubeConfig();
    other.loadFromFile(each);
    config.mergeConfig(other);
  }
  if (context !== undefined) config.setCurrentContext(context);
  if (config.getCurrentCluster()) return config;
  const known = config.getContexts().map(({ name }) => name);
  const wanted = context === undefined ? 'there is no current context' : `there is no context ${context}`;
  throw new Error(`${files.join(', ') || named}: ${wanted}; there are: ${known.join(', ') || 'none'}`);
}
