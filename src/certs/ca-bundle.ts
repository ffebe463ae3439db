import type { JsonPatchOperation } from '../domain/json-patch.ts';
import type { KubernetesObject } from '../domain/kubernetes.ts';

export type WebhookConfiguration = KubernetesObject & {
  webhooks?: { name: string; clientConfig?: { caBundle?: string } }[];
};

/**
 * The patch that gives every webhook of a configuration the authority it has to trust; empty when they have it. Each
 * place in the list is tested by name first, so that a list that changed meanwhile is never patched in the wrong place.
 */
export function caBundlePatch(configuration: WebhookConfiguration, ca: string): JsonPatchOperation[] {
  const caBundle = Buffer.from(ca).toString('base64');
  return (configuration.webhooks ?? []).flatMap((webhook, index) => {
    if (webhook.clientConfig?.caBundle === caBundle) return [];
    return [
      { op: 'test' as const, path: `/webhooks/${index}/name`, value: webhook.name },
      { op: 'add' as const, path: `/webhooks/${index}/clientConfig/caBundle`, value: caBundle },
    ];
  });
}
