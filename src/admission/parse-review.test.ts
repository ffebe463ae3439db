import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseReview } from './parse-review.ts';

const parse = (text: string) => parseReview(Buffer.from(text));

/** Objects with many managed fields, at any depth, and strings that look like them. */
const anything = fc.object({
  key: fc.oneof(
    { arbitrary: fc.constant('managedFields'), weight: 3 },
    fc.constantFrom('"managedFields', 'managedFields"', '\\'),
    fc.string(),
  ),
  values: [
    fc.string({ unit: fc.constantFrom('"', '\\', '[', ']', '{', 'é', '😀') }),
    fc.constant('"managedFields":['),
    fc.integer(),
    fc.constant(null),
  ],
  withNullPrototype: false,
  maxDepth: 6,
});

describe('parseReview', () => {
  it.each<{ what: string; text: string; is: unknown }>([
    {
      what: 'managed fields as none',
      text: '{"a":{"managedFields":[{"f:x":{}},{"f:y":{}}]},"b":[1]}',
      is: { a: { managedFields: [] }, b: [1] },
    },
    {
      what: 'those of a custom resource, whose keys are in order',
      text: '{"a":{"managedFields":[{"f:x":{}}],"name":"b"}}',
      is: { a: { managedFields: [], name: 'b' } },
    },
    {
      what: 'those of the old object, too',
      text: '{"a":{"managedFields":[{}]},"b":{"managedFields":[{}]},"c":1}',
      is: { a: { managedFields: [] }, b: { managedFields: [] }, c: 1 },
    },
    {
      what: 'those with a bracket in a key',
      text: JSON.stringify({ a: { managedFields: [{ 'k:"]},"b"': {} }] }, b: [1] }),
      is: { a: { managedFields: [{ 'k:"]},"b"': {} }] }, b: [1] },
    },
    {
      what: 'those with lists in them, which no API server writes,',
      text: '{"a":{"managedFields":[{"c":{"d":["e"]},"f":1}]},"b":[1]}',
      is: { a: { managedFields: [{ c: { d: ['e'] }, f: 1 }] }, b: [1] },
    },
    {
      what: 'those that are the last',
      text: '{"a":{"managedFields":[{"f:x":{}}]}}',
      is: { a: { managedFields: [{ 'f:x': {} }] } },
    },
    { what: 'those that are empty', text: '{"managedFields":[]}', is: { managedFields: [] } },
    {
      what: 'those that are no list',
      text: '{"managedFields":{"a":[1]}}',
      is: { managedFields: { a: [1] } },
    },
    {
      what: 'a string that says so',
      text: JSON.stringify({ a: '{"managedFields":[1]}', b: [2] }),
      is: { a: '{"managedFields":[1]}', b: [2] },
    },
    { what: 'what is no JSON as nothing', text: '{"a":', is: undefined },
    { what: 'managed fields that do not end as nothing', text: '{"managedFields":[[]', is: undefined },
    { what: 'a string that does not end as nothing', text: '{"managedFields":["\\', is: undefined },
    { what: 'an empty body as nothing', text: '', is: undefined },
  ])('reads $what', ({ text, is }) => {
    expect(parse(text)).toEqual(is);
  });

  it('reads all else as JSON.parse does', () => {
    const emptied = (key: string, value: unknown) =>
      /(^|")managedFields$/.test(key) && Array.isArray(value) ? [] : value;
    fc.assert(
      fc.property(anything, (object) => {
        const text = JSON.stringify(object);
        expect(JSON.parse(JSON.stringify(parse(text)), emptied)).toEqual(JSON.parse(text, emptied));
      }),
    );
  });

  it.each([
    '"managedFields":['.repeat(200_000),
    `${'"managedFields":['.repeat(200_000)}]},"a"`,
    '"managedFields":[]},"a"'.repeat(200_000),
  ])('takes no longer than the body is long: %.40s…', (text) => {
    const before = performance.now();
    expect(parse(text)).toBeUndefined();
    expect(performance.now() - before).toBeLessThan(1_000);
  });
});
