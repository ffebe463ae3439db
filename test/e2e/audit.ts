import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Cluster } from '../cluster/cluster.ts';

export type AuditEntry = {
  verb: string;
  requestURI: string;
  requestReceivedTimestamp: string;
  objectRef?: { resource: string; subresource?: string; namespace?: string; name?: string };
  responseStatus?: { code: number };
};

/** What IPS asks of the API server from now on, as that answered it. */
export async function auditFromNow(cluster: Cluster): Promise<() => Promise<AuditEntry[]>> {
  const path = join(cluster.folder, 'logs/audit.log');
  const { size } = await stat(path);
  return async () => {
    // The last line may be on its way.
    const lines = (await text(createReadStream(path, { start: size }))).split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as AuditEntry);
  };
}
