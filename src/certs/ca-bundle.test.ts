import { beforeAll, describe, expect, it } from 'vitest';
import { createAuthority } from './authority.ts';
import {
  caBundlePatch,
  foreignAuthorities,
  noteSince,
  publishedAuthorities,
  type WebhookConfiguration,
} from './ca-bundle.ts';
import { certificatesIn } from './certificate.ts';

/** The CAs by the names that the tests give them. */
const pem: Record<string, string> = {};

beforeAll(async () => {
  for (const name of ['ours', 'next', 'foreign']) {
    const { cert } = await createAuthority({ commonName: name, now: new Date(), validityDays: 1 });
    pem[name] = certificatesIn(cert)[0] ?? '';
  }
});

const all = (names: string[]) => names.map((name) => pem[name] ?? name);
const base64 = (text: string) => Buffer.from(text).toString('base64');

/** Webhooks a, b, …, each with the CAs that it trusts; undefined where it has no bundle at all. */
function configuration(...bundles: (string[] | undefined)[]): WebhookConfiguration {
  const webhooks = bundles.map((bundle, index) => ({
    name: String.fromCharCode(97 + index),
    clientConfig: bundle ? { caBundle: base64(all(bundle).join('')) } : {},
  }));
  return { metadata: { name: 'ips' }, webhooks };
}

/** The operations that give the webhook at `index` its bundle. */
function change({ index, before, after }: { index: number; before?: string[]; after: string[] }): object[] {
  const path = `/webhooks/${index}/clientConfig/caBundle`;
  return [
    { op: 'test', path: `/webhooks/${index}/name`, value: String.fromCharCode(97 + index) },
    { op: 'test', path, value: before ? base64(all(before).join('')) : null },
    { op: 'add', path, value: base64(all(after).join('')) },
  ];
}

describe('caBundlePatch', () => {
  it.each<{
    what: string;
    bundles: (string[] | undefined)[];
    required?: string[];
    retired?: string[];
    changes?: Parameters<typeof change>[0][];
  }>([
    { what: 'nothing where there are no webhooks', bundles: [] },
    { what: 'nothing where all have it', bundles: [['ours'], ['ours']] },
    { what: 'nothing where it is written in another way', bundles: [['# ours\r\n', 'ours', '\n\n']] },
    {
      what: 'each that lacks it, at its place, after a look at its name and at what it had',
      bundles: [undefined, ['ours'], ['foreign']],
      changes: [
        { index: 0, after: ['ours'] },
        { index: 2, before: ['foreign'], after: ['foreign', 'ours'] },
      ],
    },
    {
      what: 'a new CA beside the old one',
      bundles: [['ours']],
      required: ['ours', 'next'],
      changes: [{ index: 0, before: ['ours'], after: ['ours', 'next'] }],
    },
    { what: 'nothing where a CA that is not ours stands beside ours', bundles: [['foreign', 'ours']] },
    {
      what: 'a retired CA taken away',
      bundles: [['foreign', 'ours']],
      retired: ['foreign'],
      changes: [{ index: 0, before: ['foreign', 'ours'], after: ['ours'] }],
    },
    { what: 'ours kept, even where it is taken for retired', bundles: [['ours']], retired: ['ours'] },
    {
      what: 'a bundle never emptied where we have none',
      bundles: [['foreign']],
      required: [],
      retired: ['foreign'],
    },
    {
      what: 'what is no certificate replaced',
      bundles: [['old']],
      changes: [{ index: 0, before: ['old'], after: ['ours'] }],
    },
  ])('$what', ({ bundles, required = ['ours'], retired = [], changes = [] }) => {
    const patch = caBundlePatch(configuration(...bundles), all(required), all(retired));
    expect(patch).toEqual(changes.flatMap(change));
  });
});

describe('what stands in a configuration', () => {
  it('is published where every webhook has it', () => {
    expect(publishedAuthorities(configuration(['ours', 'next'], ['foreign', 'ours']))).toEqual(all(['ours']));
    expect(publishedAuthorities(configuration(['ours'], undefined))).toEqual([]);
    expect(publishedAuthorities(configuration())).toEqual([]);
    expect(publishedAuthorities(undefined)).toEqual([]);
  });

  it('is foreign where any webhook has it and we do not ask for it', () => {
    expect(
      foreignAuthorities(configuration(['ours', 'foreign'], ['foreign', 'next']), all(['ours'])),
    ).toEqual(all(['foreign', 'next']));
    expect(foreignAuthorities(undefined, all(['ours']))).toEqual([]);
  });
});

it('the time since when something is there starts anew after a break', () => {
  const since = new Map<string, number>();
  noteSince(since, ['a', 'b'], 1);
  noteSince(since, ['a'], 2);
  noteSince(since, ['a', 'b'], 3);
  expect([...since]).toEqual([
    ['a', 1],
    ['b', 3],
  ]);
});
