/**
 * The first look at values that nobody checked: a custom resource may hold anything where a field is looked for. What
 * cannot be read is left out, never thrown on. Nothing that is returned holds on to what was read.
 */

export type Fields = Record<string, unknown>;
/** Undefined where the fields are not those of a T. */
export type Read<T> = (fields: Fields) => T | undefined;

/** More of one list than anybody writes by hand. It bounds how long reading takes, and what comes after. */
export const MAX_ENTRIES = 1000;
/** A program may list every host of a cluster. */
const MAX_TEXTS = 10_000;

export function record(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

export function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}

export function readText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export function readTexts(value: unknown): string[] | undefined {
  if (!Array.isArray(value) || value.length > MAX_TEXTS) return undefined;
  return value.every((each) => typeof each === 'string') ? [...value] : undefined;
}

/** The entries whose values are strings; a key such as `__proto__` is a key like any other. */
export function readStrings(value: unknown): Record<string, string> | undefined {
  return picked(value, () => true);
}

/** Under `exactOptionalPropertyTypes` what is not there has no key either. */
export function put<T extends object, K extends keyof T>(target: T, key: K, value: T[K] | undefined): void {
  if (value !== undefined) target[key] = value;
}

/** Not by assignment, which would take `__proto__` for something else. */
export function picked(value: unknown, wanted: (key: string) => boolean): Record<string, string> | undefined {
  const fields = record(value);
  if (!fields) return undefined;
  const entries: [string, string][] = [];
  for (const key of Object.keys(fields)) {
    if (entries.length >= MAX_ENTRIES) break;
    const text = wanted(key) ? fields[key] : undefined;
    if (typeof text === 'string') entries.push([key, text]);
  }
  return Object.fromEntries(entries);
}

/** One warning a list, however much of it is wrong. */
export function readList<T>(
  value: unknown,
  name: string,
  warnings: string[],
  read: Read<T>,
): T[] | undefined {
  if (!Array.isArray(value)) {
    if (isSet(value)) warnings.push(`${name} is not a list; ignored`);
    return undefined;
  }
  const items: T[] = [];
  let unread = 0;
  const end = Math.min(value.length, MAX_ENTRIES);
  for (let index = 0; index < end; index += 1) {
    const fields = record(value[index]);
    const item = fields && read(fields);
    if (item === undefined) unread += 1;
    else items.push(item);
  }
  if (unread > 0) warnings.push(`${name}: ${unread} of ${value.length} cannot be read; ignored`);
  if (value.length > end) {
    warnings.push(`${name}: the first ${MAX_ENTRIES} of ${value.length} count; the others are ignored`);
  }
  return items;
}
