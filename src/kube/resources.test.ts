import { expect, it } from 'vitest';
import { RESOURCES, type Resource, resourcePath } from './resources.ts';

it.each<{ resource: Resource; namespace?: string; name?: string; path: string }>([
  { resource: RESOURCES.pods, path: '/api/v1/pods' },
  { resource: RESOURCES.pods, namespace: 'shop', path: '/api/v1/namespaces/shop/pods' },
  { resource: RESOURCES.nodes, name: 'node-a.example', path: '/api/v1/nodes/node-a.example' },
  {
    resource: RESOURCES.deployments,
    namespace: 'shop',
    name: 'web',
    path: '/apis/apps/v1/namespaces/shop/deployments/web',
  },
  { resource: RESOURCES.jobs, path: '/apis/batch/v1/jobs' },
  {
    resource: RESOURCES.tasks,
    namespace: 'shop',
    name: 'ips-1',
    path: '/apis/ips.dev/v1alpha1/namespaces/shop/prewarmtasks/ips-1',
  },
  {
    resource: RESOURCES.webhookConfigurations,
    name: 'ips',
    path: '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/ips',
  },
  // A name never becomes another path.
  { resource: RESOURCES.nodes, name: '../secrets?x', path: '/api/v1/nodes/..%2Fsecrets%3Fx' },
  { resource: RESOURCES.pods, namespace: 'a/b', path: '/api/v1/namespaces/a%2Fb/pods' },
])('$path', ({ resource, namespace, name, path }) => {
  expect(resourcePath(resource, namespace, name)).toBe(path);
});
