import { expect, it } from 'vitest';
import { caBundlePatch, type WebhookConfiguration } from './ca-bundle.ts';

const CA = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
/** printf … | base64 */
const CA_BASE64 = 'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=';

it.each<{ what: string; webhooks: WebhookConfiguration['webhooks']; patch: object[] }>([
  { what: 'nothing where there are no webhooks', webhooks: undefined, patch: [] },
  {
    what: 'nothing where all have it',
    webhooks: [{ name: 'a', clientConfig: { caBundle: CA_BASE64 } }],
    patch: [],
  },
  {
    what: 'each that lacks it, at its place, after a look at its name',
    webhooks: [
      { name: 'a.ips.dev', clientConfig: {} },
      { name: 'b.ips.dev', clientConfig: { caBundle: CA_BASE64 } },
      { name: 'c.ips.dev', clientConfig: { caBundle: 'b2xk' } },
    ],
    patch: [
      { op: 'test', path: '/webhooks/0/name', value: 'a.ips.dev' },
      { op: 'add', path: '/webhooks/0/clientConfig/caBundle', value: CA_BASE64 },
      { op: 'test', path: '/webhooks/2/name', value: 'c.ips.dev' },
      { op: 'add', path: '/webhooks/2/clientConfig/caBundle', value: CA_BASE64 },
    ],
  },
])('the CA is published to $what', ({ webhooks, patch }) => {
  const configuration = { metadata: { name: 'ips' }, ...(webhooks ? { webhooks } : {}) };
  expect(caBundlePatch(configuration, CA)).toEqual(patch);
});
