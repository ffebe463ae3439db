import fc from 'fast-check';

/** Arbitrary JSON as text: only a text can hold one key twice, a number that no float is, or more levels than a stack. */
export type Json = fc.Arbitrary<string>;

/** Unicode that breaks programs: NUL, lone surrogates, other directions, other ends of a line, many bytes. */
const ODD_TEXTS = [
  ...[
    '',
    ' ',
    '\u0000',
    'a\u0000b',
    '\ud800',
    'x\udfff',
    '\u202eabc',
    '\u2028',
    '\u0085',
    '\ufeff',
    '\uffff',
  ],
  ...[
    '😀'.repeat(80),
    'e\u0301',
    'ﷺ',
    'İ',
    '\r\n',
    '"\\"',
    '%s%n',
    '~0~1/',
    'ips/prewarm',
    'true',
    'null',
    'NaN',
  ],
];
export const ODD_KEYS = [
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype', 'valueOf', 'length', '0', ''],
  ...['ips/prewarm', 'ips/status', 'ips/__proto__', 'ips/', 'toJSON', '\ud800', '\u0000', 'a/b~c'],
];
export const ODD_VALUES = [
  ...[
    'null',
    'true',
    'false',
    '0',
    '-0',
    '7',
    '-1',
    '0.5',
    '1e400',
    '-1e999',
    '123456789012345678901234567890',
  ],
  ...['[]', '{}', '[null]', '[[[]]]', '[{}]', '{"a":{}}', '{"__proto__":{"x":1}}', '[7,"x",null,{}]'],
  ...['{"constructor":{"prototype":{"x":"y"}}}', '{"name":null}', '{"toJSON":7}', '{"length":-1}'],
];
/** What takes long where time grows faster than length. */
const LONG_TEXTS = [',', 'a,', ' ', 'a-', 'A.', 'a/', ':', '1', 'x', '\u0000', '😀', 'a@', '_', '-'];
/** Of what is there very often, in characters. */
const MAX_TEXT = 400_000;
const LENGTHS = [1000, 10_000, 100_000];

export const word: Json = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,8}$/).map((text) => JSON.stringify(text));

export function oneOf(...texts: unknown[]): Json {
  return fc.constantFrom(...texts.map((text) => JSON.stringify(text)));
}

export const oddText: Json = fc
  .oneof(fc.constantFrom(...ODD_TEXTS), fc.string({ unit: 'binary', maxLength: 20 }))
  .map((text) => JSON.stringify(text));

const deep: Json = fc
  .tuple(fc.constantFrom(10, 200, 3000, 20_000, 100_000), fc.constantFrom('[', '{"a":', '[{"name":'))
  .map(([levels, open]) => {
    const close = open === '[' ? ']' : open.startsWith('[') ? '}]' : '}';
    return `${open.repeat(levels)}${open === '[' ? '' : '7'}${close.repeat(levels)}`;
  });

const long: Json = fc
  .tuple(fc.constantFrom(...LONG_TEXTS), fc.constantFrom(...LENGTHS))
  .map(([part, length]) => JSON.stringify(part.repeat(length / part.length).slice(0, length)));

const many: Json = fc
  .tuple(
    fc.constantFrom('null', '{}', '"x"', '{"name":"a","image":"a:1"}', '{"key":"a"}'),
    fc.constantFrom(...LENGTHS),
  )
  .map(([item, length]) => `[${Array(Math.min(length, 20_000)).fill(item).join()}]`);

const manyKeys: Json = fc
  .tuple(fc.constantFrom('', 'ips/'), fc.constantFrom(...LENGTHS))
  .map(([prefix, length]) => {
    const keys = Array.from({ length: Math.min(length, 30_000) }, (_, index) => `"${prefix}k${index}":"v"`);
    return `{${keys.join()}}`;
  });

/** Anything but what belongs there; what is large comes seldom, since that is slow to make, too. */
export const hostile: Json = fc.oneof(
  { weight: 300, arbitrary: fc.constantFrom(...ODD_VALUES) },
  { weight: 90, arbitrary: oddText },
  { weight: 5, arbitrary: fc.json({ maxDepth: 2 }) },
  { weight: 1, arbitrary: deep },
  { weight: 1, arbitrary: long },
  { weight: 1, arbitrary: many },
  { weight: 1, arbitrary: manyKeys },
);

/** What belongs there, and now and then something else. */
export function mostly(arbitrary: Json): Json {
  return fc.oneof({ weight: 30, arbitrary }, { weight: 1, arbitrary: hostile });
}

const extra = fc.tuple(fc.constantFrom(...ODD_KEYS), hostile);

/** An object of these fields, of which each may be missing, wrong, or there twice, beside others that are odd. */
export function object(fields: Record<string, Json>, required: string[] = []): Json {
  const own = Object.entries(fields).map(([name, value]) => {
    const entry = mostly(value).map((text) => `${JSON.stringify(name)}:${text}`);
    const absent = required.includes(name) ? 1 : 8;
    return fc.oneof(
      { weight: 50, arbitrary: entry },
      { weight: absent, arbitrary: fc.constant('') },
      { weight: 1, arbitrary: fc.tuple(entry, entry).map(([one, other]) => `${one},${other}`) },
    );
  });
  const others = fc.oneof(
    { weight: 12, arbitrary: fc.constant('') },
    { weight: 1, arbitrary: extra.map(([name, text]) => `${JSON.stringify(name)}:${text}`) },
  );
  return fc.tuple(...own, others).map((entries) => `{${entries.filter(Boolean).join()}}`);
}

/** Now and then one entry very often. */
export function list(item: Json, maxLength = 4): Json {
  const some = fc.array(mostly(item), { maxLength });
  const often = fc.tuple(item, fc.constantFrom(1001, 20_000)).map(([text, count]) => {
    return Array<string>(Math.min(count, Math.ceil(MAX_TEXT / text.length))).fill(text);
  });
  return fc
    .oneof({ weight: 1000, arbitrary: some }, { weight: 1, arbitrary: often })
    .map((items) => `[${items.join()}]`);
}

/** An object of which the keys are not known. */
export function dictionary(key: fc.Arbitrary<string>, value: Json, maxLength = 4): Json {
  return fc
    .array(fc.tuple(key, mostly(value)), { maxLength })
    .map((entries) => `{${entries.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join()}}`);
}
