import type { JsonPatchOperation } from '../domain/json-patch.ts';
import type { KubernetesObject } from '../domain/kubernetes.ts';
import { certificatesIn } from './certificate.ts';

export type WebhookConfiguration = KubernetesObject & {
  webhooks?: { name: string; clientConfig?: { caBundle?: string } }[];
};

/** The CAs that every webhook of a configuration trusts. */
export function publishedAuthorities(configuration: WebhookConfiguration | undefined): string[] {
  const [first = [], ...others] = (configuration?.webhooks ?? []).map(authoritiesOf);
  return first.filter((ca) => others.every((bundle) => bundle.includes(ca)));
}

/** The CAs that some webhook of a configuration trusts, and that are not among `required`. */
export function foreignAuthorities(
  configuration: WebhookConfiguration | undefined,
  required: string[],
): string[] {
  const all = (configuration?.webhooks ?? []).flatMap(authoritiesOf);
  return [...new Set(all)].filter((ca) => !required.includes(ca));
}

/**
 * The patch that gives every webhook of a configuration the CAs that it has to trust; empty when they have them. CAs
 * that others put there stay, except for those in `retired`. Each place in the list is tested by name and by the value
 * it had, so that a configuration that changed meanwhile is never overwritten.
 */
export function caBundlePatch(
  configuration: WebhookConfiguration,
  required: string[],
  retired: string[],
): JsonPatchOperation[] {
  if (required.length === 0) return [];
  return (configuration.webhooks ?? []).flatMap((webhook, index) => {
    const before = authoritiesOf(webhook);
    const after = [...new Set([...before.filter((ca) => !retired.includes(ca)), ...required])];
    if (after.length === before.length && after.every((ca) => before.includes(ca))) return [];
    const path = `/webhooks/${index}/clientConfig/caBundle`;
    return [
      { op: 'test' as const, path: `/webhooks/${index}/name`, value: webhook.name },
      // The API server takes null for "there is none".
      { op: 'test' as const, path, value: webhook.clientConfig?.caBundle || null },
      { op: 'add' as const, path, value: Buffer.from(after.join('')).toString('base64') },
    ];
  });
}

/** Notes since when each of `present` has been there without a break; what is not there any more is forgotten. */
export function noteSince(since: Map<string, number>, present: string[], now: number): void {
  for (const each of since.keys()) if (!present.includes(each)) since.delete(each);
  for (const each of present) if (!since.has(each)) since.set(each, now);
}

function authoritiesOf({ clientConfig }: { clientConfig?: { caBundle?: string } }): string[] {
  return certificatesIn(Buffer.from(clientConfig?.caBundle ?? '', 'base64').toString());
}
