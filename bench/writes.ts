import { type Cluster, kubectl } from '../test/cluster/cluster.ts';

/** Requests since the API server started: `POST pods` and the like, and all that came from IPS. */
export type Requests = { writes: Record<string, number>; byIps: number };

/** What the issue's budget is about; other resources change whoever warms the nodes (leases, node status, namespaces). */
const COUNTED = ['pods', 'jobs', 'events', 'prewarmtasks'];
const WRITES = ['POST', 'PUT', 'PATCH', 'DELETE', 'DELETECOLLECTION'];
const FLOW = 'bench-ips';

/** Gives IPS's account a flow of its own, by which the API server counts its requests. */
export async function countIps(cluster: Cluster): Promise<void> {
  const schema = {
    apiVersion: 'flowcontrol.apiserver.k8s.io/v1',
    kind: 'FlowSchema',
    metadata: { name: FLOW },
    spec: {
      // Just before the one that all service accounts have, and of the same priority level.
      matchingPrecedence: 8999,
      priorityLevelConfiguration: { name: 'workload-low' },
      distinguisherMethod: { type: 'ByUser' },
      rules: [
        {
          subjects: [{ kind: 'ServiceAccount', serviceAccount: { name: 'ips', namespace: 'ips-system' } }],
          resourceRules: [
            { verbs: ['*'], apiGroups: ['*'], resources: ['*'], namespaces: ['*'], clusterScope: true },
          ],
        },
      ],
    },
  };
  await kubectl(cluster, ['apply', '-f', '-'], JSON.stringify(schema));
}

/** From the API server's own metrics: every writer counts, also the Job controller, kwok and the garbage collector. */
export async function readRequests(cluster: Cluster): Promise<Requests> {
  const requests: Requests = { writes: {}, byIps: 0 };
  for (const line of (await kubectl(cluster, ['get', '--raw', '/metrics'])).split('\n')) {
    const [, name, labels = '', value] = /^(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    if (name === 'apiserver_request_total') {
      const { verb = '', resource = '', subresource, code } = parseLabels(labels);
      if (!WRITES.includes(verb) || !COUNTED.includes(resource) || !code?.startsWith('2')) continue;
      const key = `${verb} ${resource}${subresource ? `/${subresource}` : ''}`;
      requests.writes[key] = (requests.writes[key] ?? 0) + Number(value);
    }
    if (name === 'apiserver_flowcontrol_dispatched_requests_total' && labels.includes(`"${FLOW}"`))
      requests.byIps += Number(value);
  }
  return requests;
}

function parseLabels(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
}

export function requestsSince(before: Requests, after: Requests): Requests {
  const changed = Object.entries(after.writes)
    .map(([key, count]): [string, number] => [key, count - (before.writes[key] ?? 0)])
    .filter(([, count]) => count > 0)
    .sort(([a], [b]) => a.localeCompare(b));
  return { writes: Object.fromEntries(changed), byIps: after.byIps - before.byIps };
}

export function total(writes: Record<string, number>): number {
  return Object.values(writes).reduce((sum, count) => sum + count, 0);
}
