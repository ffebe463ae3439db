/** A kind of object as the API server's paths name it. */
export type Resource = { apiVersion: string; plural: string };

export const RESOURCES = {
  deployments: { apiVersion: 'apps/v1', plural: 'deployments' },
  pods: { apiVersion: 'v1', plural: 'pods' },
  nodes: { apiVersion: 'v1', plural: 'nodes' },
  events: { apiVersion: 'v1', plural: 'events' },
  secrets: { apiVersion: 'v1', plural: 'secrets' },
  jobs: { apiVersion: 'batch/v1', plural: 'jobs' },
  runtimeClasses: { apiVersion: 'node.k8s.io/v1', plural: 'runtimeclasses' },
  tasks: { apiVersion: 'ips.dev/v1alpha1', plural: 'prewarmtasks' },
  leases: { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' },
  tokenReviews: { apiVersion: 'authentication.k8s.io/v1', plural: 'tokenreviews' },
  subjectAccessReviews: { apiVersion: 'authorization.k8s.io/v1', plural: 'subjectaccessreviews' },
  webhookConfigurations: {
    apiVersion: 'admissionregistration.k8s.io/v1',
    plural: 'mutatingwebhookconfigurations',
  },
} as const satisfies Record<string, Resource>;

export function resourcePath(resource: Resource, namespace?: string, name?: string): string {
  const root = resource.apiVersion.includes('/')
    ? `/apis/${resource.apiVersion}`
    : `/api/${resource.apiVersion}`;
  const scope = namespace ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${root}${scope}/${resource.plural}${name ? `/${encodeURIComponent(name)}` : ''}`;
}
