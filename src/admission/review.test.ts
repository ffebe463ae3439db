import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { answerReview, readReview } from './review.ts';

const OBJECT = { metadata: { name: 'web' }, spec: {} };

describe('readReview', () => {
  it('reads what is used of a review', () => {
    const body = {
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      request: {
        uid: 'u1',
        kind: { group: 'apps', version: 'v1', kind: 'Deployment' },
        namespace: 'shop',
        operation: 'UPDATE',
        userInfo: { username: 'jane' },
        object: OBJECT,
        oldObject: null,
        dryRun: true,
      },
    };
    expect(readReview(body)).toEqual({
      uid: 'u1',
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      namespace: 'shop',
      object: OBJECT,
    });
  });

  it('reads a review of an object without a namespace', () => {
    expect(readReview({ request: { uid: '', object: OBJECT } })).toEqual({
      uid: '',
      apiVersion: '',
      kind: '',
      namespace: '',
      object: OBJECT,
    });
  });

  it.each<{ what: string; body: unknown }>([
    { what: 'nothing', body: undefined },
    { what: 'null', body: null },
    { what: 'a text', body: 'AdmissionReview' },
    { what: 'a list', body: [{ request: { uid: 'u', object: OBJECT } }] },
    { what: 'no request', body: {} },
    { what: 'a request that is none', body: { request: 'x' } },
    { what: 'no uid', body: { request: { object: OBJECT } } },
    { what: 'a uid that is a number', body: { request: { uid: 1, object: OBJECT } } },
  ])('takes $what for no review', ({ body }) => {
    expect(readReview(body)).toBeUndefined();
  });

  it.each<{ what: string; object: unknown }>([
    { what: 'a deletion', object: null },
    { what: 'a list', object: [] },
    { what: 'no metadata', object: {} },
    { what: 'metadata that are null', object: { metadata: null } },
    { what: 'metadata that are a text', object: { metadata: 'x' } },
  ])('finds no object in a review of $what', ({ object }) => {
    expect(readReview({ request: { uid: 'u', object } })).toMatchObject({ uid: 'u', object: undefined });
  });

  it('never fails', () => {
    const review = fc.record({
      request: fc.record({ uid: fc.jsonValue(), kind: fc.jsonValue(), object: fc.jsonValue() }),
    });
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), review), (body) => {
        const request = readReview(body);
        if (request) expect(request).toMatchObject({ uid: expect.any(String), kind: expect.any(String) });
      }),
    );
  });
});

type Response = { response: { warnings?: string[]; patch?: string; [field: string]: unknown } };

function answer(...args: Parameters<typeof answerReview>): Response['response'] {
  return (answerReview(...args) as Response).response;
}

describe('answerReview', () => {
  it('lets through', () => {
    expect(answerReview('u1', { allowed: true })).toEqual({
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      response: { uid: 'u1', allowed: true },
    });
  });

  it('carries a patch as base64', () => {
    const patch = [{ op: 'add' as const, path: '/metadata/labels', value: { näme: '✓' } }];
    const { patch: sent = '', ...rest } = answer('u1', { allowed: true, patch });
    expect(rest).toEqual({ uid: 'u1', allowed: true, patchType: 'JSONPatch' });
    expect(JSON.parse(Buffer.from(sent, 'base64').toString('utf8'))).toEqual(patch);
  });

  it.each([{ patch: [] }, { warnings: [] }, { message: '' }])('leaves %j out', (empty) => {
    expect(answer('u1', { allowed: true, ...empty })).toEqual({ uid: 'u1', allowed: true });
  });

  it('refuses with a reason', () => {
    expect(answer('u1', { allowed: false, message: 'no' })).toEqual({
      uid: 'u1',
      allowed: false,
      status: { code: 403, message: 'ips: no' },
    });
  });

  it('says whose warnings they are, and no more than kubectl gets to see', () => {
    const warnings = Array.from({ length: 20 }, (_, index) => `warning ${index}`);
    expect(answer('u1', { allowed: true, warnings }).warnings).toEqual([
      ...Array.from({ length: 11 }, (_, index) => `ips: warning ${index}`),
      'ips: and 9 more warnings',
    ]);
    const [long = ''] = answer('u1', { allowed: true, warnings: ['x'.repeat(999)] }).warnings ?? [];
    expect(long).toBe(`ips: ${'x'.repeat(245)}`);
  });

  it.each<{ warning: string; printed: string }>([
    { warning: 'two\nlines', printed: 'ips: two lines' },
    { warning: 'a\r\n\tb\u0000c\u007fd', printed: 'ips: a b c d' },
    { warning: 'käse … ✓', printed: 'ips: käse … ✓' },
    // The API server drops a warning with any character for which Go's unicode.IsControl is true: also these.
    // What turns the direction of writing, or breaks a line in another way, would garble a terminal.
    { warning: 'a\u202eb\u2028c\ud800d', printed: 'ips: a b c d' },
    { warning: 'next\u0085line', printed: 'ips: next line' },
  ])('makes $printed of a warning with control characters', ({ warning, printed }) => {
    const [first = ''] = answer('u1', { allowed: true, warnings: [warning] }).warnings ?? [];
    expect(first.replaceAll(/ +/g, ' ')).toBe(printed);
  });

  it('keeps all warnings of one answer under 4,096 characters', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 600 }), { maxLength: 40 }), (warnings) => {
        const sent = answer('u1', { allowed: true, warnings }).warnings ?? [];
        expect(sent.reduce((sum, each) => sum + each.length, 0)).toBeLessThan(4096);
        for (const each of sent) expect(each.length).toBeLessThanOrEqual(256);
      }),
    );
  });
});
