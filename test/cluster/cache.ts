import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where everything is kept that outlives a run and is not part of the checkout: builds and running clusters. */
export function cacheDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return environment['IPS_CACHE_DIR'] || join(base, 'image-prewarm-service');
}
