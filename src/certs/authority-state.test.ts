import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { createAuthority } from './authority.ts';
import {
  type AuthorityState,
  dueStep,
  fromSecretData,
  type Step,
  takeStep,
  toSecretData,
} from './authority-state.ts';
import { isTrusted, namesMissing } from './certificate.ts';

const names = { dnsNames: ['ips.ips-system.svc'], ipAddresses: ['10.0.0.1'] };
const now = new Date('2026-03-01T12:00:00.000Z');
const dayMs = 24 * 60 * 60_000;
const onDay = (days: number) => new Date(now.getTime() + days * dayMs);

let fresh: AuthorityState;
/** Its next CA waits to be known. */
let changing: AuthorityState;

beforeAll(async () => {
  fresh = await takeStep('new authority and certificate', undefined, { names, now });
  changing = await takeStep('new CA, to be made known first', fresh, { names, now: onDay(2434) });
});

describe('dueStep', () => {
  type Case = { what: string; state?: () => AuthorityState; day?: number; known?: boolean; step?: Step };
  it.each<Case>([
    { what: 'nothing is there', step: 'new authority and certificate' },
    { what: 'all is fresh', state: () => fresh },
    { what: 'the certificate is just not two thirds through its life', state: () => fresh, day: 243 },
    {
      what: 'the certificate is two thirds through its life',
      state: () => fresh,
      day: 244,
      step: 'new certificate',
    },
    { what: 'the certificate expired long ago', state: () => fresh, day: 500, step: 'new certificate' },
    {
      what: 'the certificate is of a clock that ran ahead',
      state: () => fresh,
      day: -100,
      step: 'new CA, to be made known first',
    },
    {
      what: 'the CA is just not two thirds through its life',
      state: () => fresh,
      day: 2433,
      step: 'new certificate',
    },
    {
      what: 'the CA is two thirds through its life',
      state: () => fresh,
      day: 2434,
      step: 'new CA, to be made known first',
    },
    { what: 'the next CA is not known yet', state: () => changing, day: 2434 },
    {
      what: 'the next CA is known',
      state: () => changing,
      day: 2434,
      known: true,
      step: 'certificate of the new CA',
    },
  ])('$what: $step', ({ state, day = 0, known = false, step }) => {
    expect(dueStep(state?.(), { names, now: onDay(day), isKnown: () => known })).toBe(step);
  });

  it('asks whether the next CA is known, not the one in use', () => {
    const asked: string[] = [];
    const isKnown = (ca: string) => asked.push(ca) > 0;
    dueStep(changing, { names, now: onDay(2434), isKnown });
    expect(asked).toEqual([changing.next?.cert]);
  });

  it('wants a new certificate for a name that it lacks', () => {
    const more = { ...names, dnsNames: ['ips.elsewhere.svc'] };
    expect(dueStep(fresh, { names: more, now, isKnown: () => false })).toBe('new certificate');
  });
});

describe('takeStep', () => {
  it('makes an authority for 10 years and a certificate for 1', () => {
    const end = (cert: string) => new X509Certificate(cert).validToDate;
    expect([end(fresh.authority.cert), end(fresh.serving.cert)]).toEqual([onDay(3650), onDay(365)]);
    expect(isTrusted(fresh.serving.cert, [fresh.authority.cert])).toBe(true);
    expect(fresh.next).toBeUndefined();
  });

  it('makes the next CA and leaves what is served', () => {
    expect(changing).toMatchObject({ authority: fresh.authority, serving: fresh.serving });
    expect(changing.next?.cert).not.toBe(fresh.authority.cert);
  });

  it('goes over to the next CA with a certificate of it', async () => {
    const state = await takeStep('certificate of the new CA', changing, { names, now: onDay(2434) });
    expect(state.authority).toEqual(changing.next);
    expect(state.next).toBeUndefined();
    expect(isTrusted(state.serving.cert, [state.authority.cert])).toBe(true);
    expect(isTrusted(state.serving.cert, [fresh.authority.cert])).toBe(false);
  });

  it('renews a certificate under the same CA', async () => {
    const state = await takeStep('new certificate', fresh, { names, now: onDay(244) });
    expect(state.authority).toEqual(fresh.authority);
    expect(new X509Certificate(state.serving.cert).validToDate).toEqual(onDay(244 + 365));
    expect(isTrusted(state.serving.cert, [fresh.authority.cert])).toBe(true);
  });

  it('adds a name to those that other replicas ask for, until the certificate is renewed', async () => {
    const other = { dnsNames: ['ips.elsewhere.svc'], ipAddresses: ['::1'] };
    const covers = (state: AuthorityState, wanted: typeof names) =>
      namesMissing(new X509Certificate(state.serving.cert), wanted).length === 0;
    const both = await takeStep('new certificate', fresh, { names: other, now });
    expect([covers(both, names), covers(both, other)]).toEqual([true, true]);
    const renewed = await takeStep('new certificate', both, { names: other, now: onDay(300) });
    expect([covers(renewed, names), covers(renewed, other)]).toEqual([false, true]);
  });

  it('ends where it began, over all the steps of 30 years', async () => {
    let state: AuthorityState | undefined;
    const taken: Step[] = [];
    for (let day = 0; day < 30 * 365; day += 10) {
      const facts = { names, now: onDay(day) };
      const step = dueStep(state, { ...facts, isKnown: () => true });
      if (!step) continue;
      taken.push(step);
      state = await takeStep(step, state, facts);
      expect(isTrusted(state.serving.cert, [state.authority.cert])).toBe(true);
    }
    expect(taken.filter((step) => step === 'new authority and certificate')).toHaveLength(1);
    expect(taken.filter((step) => step === 'certificate of the new CA')).toHaveLength(4);
    expect(taken.length).toBeGreaterThan(40);
  });
});

describe('the Secret', () => {
  const data = () => toSecretData(changing);
  const text = (value: string) => Buffer.from(value).toString('base64');

  it('gives back what was put there', () => {
    expect(Object.keys(data()).sort()).toEqual([
      'ca.crt',
      'ca.key',
      'next-ca.crt',
      'next-ca.key',
      'tls.crt',
      'tls.key',
    ]);
    expect(fromSecretData(data())).toEqual({ state: changing });
    expect(fromSecretData(toSecretData(fresh))).toEqual({ state: fresh });
  });

  it.each<[string, () => Record<string, string> | undefined, RegExp]>([
    ['no data', () => undefined, /^it is empty$/],
    ['empty data', () => ({}), /^it is empty$/],
    ['no CA', () => ({ ...data(), 'ca.crt': '' }), /^ca\.crt does not hold a PEM certificate/],
    ['no key', () => ({ 'ca.crt': data()['ca.crt'] ?? '' }), /^ca\.key does not hold a PEM private key/],
    [
      'what is no base64',
      () => ({ ...data(), 'tls.crt': '%%%' }),
      /^tls\.crt does not hold a PEM certificate/,
    ],
    [
      'the key of another certificate',
      () => ({ ...data(), 'tls.key': data()['ca.key'] ?? '' }),
      /^tls\.key is not the key of tls\.crt$/,
    ],
    [
      'a certificate of another CA',
      () => ({ ...data(), 'ca.crt': data()['next-ca.crt'] ?? '', 'ca.key': data()['next-ca.key'] ?? '' }),
      /^tls\.crt is not of the CA in ca\.crt$/,
    ],
    [
      'a CA that is none',
      () => ({ ...data(), 'ca.crt': data()['tls.crt'] ?? '', 'ca.key': data()['tls.key'] ?? '' }),
      /^ca\.crt is not a self-signed CA$/,
    ],
  ])('is of no use with %s, and says why without showing a key', (_, content, problem) => {
    const found = fromSecretData(content());
    expect(found).toEqual({ problem: expect.stringMatching(problem) });
    expect(JSON.stringify(found)).not.toMatch(/MII/);
  });

  it('is of use with a broken next CA, which is made anew', async () => {
    const broken = { ...data(), 'next-ca.key': text('broken') };
    const found = fromSecretData(broken);
    expect(found).toEqual({ state: { ...fresh, next: undefined } });
    expect(dueStep(fresh, { names, now: onDay(2434), isKnown: () => true })).toBe(
      'new CA, to be made known first',
    );
  });

  it('takes no CA that node-forge cannot read', async () => {
    const { cert } = await createAuthority({ commonName: 'x', now, validityDays: 1 });
    expect(fromSecretData({ ...data(), 'ca.crt': text(cert) })).toEqual({
      problem: 'ca.key is not the key of ca.crt',
    });
  });
});
