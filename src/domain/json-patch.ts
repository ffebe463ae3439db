/** RFC 6902, as far as IPS uses it. */
export type JsonPatchOperation =
  | { op: 'add' | 'test'; path: string; value: unknown }
  | { op: 'remove'; path: string };

/** A path from its parts; `/` and `~` in a part are escaped (RFC 6901). */
export function jsonPointer(...parts: string[]): string {
  return parts.map((part) => `/${part.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}
