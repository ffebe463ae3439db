import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalizeImage, parseImageReference } from './image-reference.ts';

const SHA256 = `sha256:${'a1'.repeat(32)}`;
const SHA384 = `sha384:${'b2'.repeat(48)}`;
const SHA512 = `sha512:${'c3'.repeat(64)}`;

type Accepted = { does: string; text: string; canonical: string };
type Refused = { does: string; text: string; reason: string };

function reasonOf(text: string): string | undefined {
  const result = parseImageReference(text);
  return result.ok ? undefined : result.reason;
}

describe('parseImageReference', () => {
  describe('fills in what is left out', () => {
    it.each<Accepted>([
      {
        does: 'takes a bare name from the official images of Docker Hub',
        text: 'nginx',
        canonical: 'docker.io/library/nginx:latest',
      },
      { does: 'keeps the tag of a bare name', text: 'nginx:1', canonical: 'docker.io/library/nginx:1' },
      {
        does: 'takes a name with a namespace from Docker Hub',
        text: 'grafana/loki:3',
        canonical: 'docker.io/grafana/loki:3',
      },
      {
        does: 'puts an official image with its registry under library',
        text: 'docker.io/nginx',
        canonical: 'docker.io/library/nginx:latest',
      },
      {
        does: 'leaves a canonical reference as it is',
        text: 'docker.io/library/nginx:1',
        canonical: 'docker.io/library/nginx:1',
      },
      {
        does: 'replaces the legacy name of Docker Hub',
        text: 'index.docker.io/library/nginx:1',
        canonical: 'docker.io/library/nginx:1',
      },
      {
        does: 'replaces the legacy name of Docker Hub before an official image',
        text: 'index.docker.io/nginx',
        canonical: 'docker.io/library/nginx:latest',
      },
      {
        does: 'adds no library to other registries',
        text: 'quay.io/nginx',
        canonical: 'quay.io/nginx:latest',
      },
      { does: 'keeps several levels of path', text: 'ghcr.io/a/b/c/d:2', canonical: 'ghcr.io/a/b/c/d:2' },
    ])('$does: $text', ({ text, canonical }) => {
      expect(normalizeImage(text)).toBe(canonical);
    });
  });

  describe('tells a registry from a namespace', () => {
    it.each<Accepted>([
      { does: 'takes localhost for a registry', text: 'localhost/foo', canonical: 'localhost/foo:latest' },
      {
        does: 'takes bare localhost for an image',
        text: 'localhost',
        canonical: 'docker.io/library/localhost:latest',
      },
      {
        does: 'takes a number after a bare name for a tag',
        text: 'localhost:5000',
        canonical: 'docker.io/library/localhost:5000',
      },
      {
        does: 'takes a number before a slash for a port',
        text: 'localhost:5000/foo',
        canonical: 'localhost:5000/foo:latest',
      },
      { does: 'keeps port and tag apart', text: 'registry:5000/foo:1', canonical: 'registry:5000/foo:1' },
      {
        does: 'takes a name with a dot for a registry',
        text: 'registry.local/foo',
        canonical: 'registry.local/foo:latest',
      },
      {
        does: 'takes an IPv4 address for a registry',
        text: '10.0.0.1:5000/foo',
        canonical: '10.0.0.1:5000/foo:latest',
      },
      {
        does: 'takes an IPv6 address for a registry',
        text: '[::1]:5000/a',
        canonical: '[::1]:5000/a:latest',
      },
      {
        does: 'takes an IPv6 address without a port',
        text: '[2001:db8::1]/a:1',
        canonical: '[2001:db8::1]/a:1',
      },
      {
        does: 'takes an uppercase first part for a registry',
        text: 'Registry/foo',
        canonical: 'Registry/foo:latest',
      },
      {
        does: 'keeps the case of a registry',
        text: 'Registry.Example.com/foo',
        canonical: 'Registry.Example.com/foo:latest',
      },
      {
        does: 'reads what no host name can be as a path without registry',
        text: 'a_b.c/foo',
        canonical: 'a_b.c/foo:latest',
      },
    ])('$does: $text', ({ text, canonical }) => {
      expect(normalizeImage(text)).toBe(canonical);
    });
  });

  describe('keeps digests', () => {
    it.each<Accepted>([
      {
        does: 'adds no tag to a digest',
        text: `nginx@${SHA256}`,
        canonical: `docker.io/library/nginx@${SHA256}`,
      },
      {
        does: 'drops the tag beside a digest',
        text: `nginx:1.27@${SHA256}`,
        canonical: `docker.io/library/nginx@${SHA256}`,
      },
      { does: 'drops the tag, not the port', text: `r:5000/a:1@${SHA256}`, canonical: `r:5000/a@${SHA256}` },
      { does: 'knows sha384', text: `a/b@${SHA384}`, canonical: `docker.io/a/b@${SHA384}` },
      { does: 'knows sha512', text: `a/b@${SHA512}`, canonical: `docker.io/a/b@${SHA512}` },
    ])('$does', ({ text, canonical }) => {
      expect(normalizeImage(text)).toBe(canonical);
    });
  });

  it('splits a tagged reference into name and tag', () => {
    expect(parseImageReference('r:5000/team/app:1.2')).toEqual({
      ok: true,
      reference: { name: 'r:5000/team/app', tag: '1.2', canonical: 'r:5000/team/app:1.2' },
    });
  });

  it('tells no tag where a digest says which image it is', () => {
    expect(parseImageReference(`app:1.2@${SHA256}`)).toEqual({
      ok: true,
      reference: {
        name: 'docker.io/library/app',
        digest: SHA256,
        canonical: `docker.io/library/app@${SHA256}`,
      },
    });
  });

  describe('allows in names and tags what the grammar allows', () => {
    it.each([
      'a__b',
      'a--b',
      'a---b',
      'a.b',
      'a_b-c.d/e',
      '0',
      'a:_x',
      'a:A.b-c_D',
      `a:${'t'.repeat(128)}`,
      'f'.repeat(63),
      'f'.repeat(65),
      `x/${'f'.repeat(64)}`,
      'a'.repeat(255 - 'library/'.length),
      `${'registry.'.repeat(40)}io/a`,
    ])('%s', (text) => {
      expect(reasonOf(text)).toBeUndefined();
    });
  });

  describe('refuses, and says what is wrong', () => {
    it.each<Refused>([
      { does: 'an empty text', text: '', reason: 'the image reference is empty' },
      { does: 'a space before', text: ' nginx', reason: 'image reference " nginx" contains white space' },
      { does: 'a space within', text: 'ngi nx', reason: 'image reference "ngi nx" contains white space' },
      {
        does: 'a line break after',
        text: 'nginx\n',
        reason: 'image reference "nginx\\n" contains white space',
      },
      {
        does: 'an uppercase repository',
        text: 'quay.io/Foo/bar',
        reason: 'repository "Foo/bar" must be lowercase',
      },
      { does: 'an uppercase bare name', text: 'Nginx:1', reason: 'repository "Nginx" must be lowercase' },
      {
        does: 'an uppercase repository behind an uppercase registry',
        text: 'Foo/Bar',
        reason: 'repository "Bar" must be lowercase',
      },
      {
        does: 'an image ID',
        text: 'a1'.repeat(32),
        reason: `image reference "${'a1'.repeat(32)}" is an image ID, not a name: write repository@sha256:… instead`,
      },
      {
        does: 'an empty tag',
        text: 'nginx:',
        reason: 'tag "" is not 1 to 128 letters, digits, "_", "." or "-", the first a letter, a digit or "_"',
      },
      {
        does: 'a tag that begins with a dash',
        text: 'r:5000/nginx:-1',
        reason:
          'tag "-1" is not 1 to 128 letters, digits, "_", "." or "-", the first a letter, a digit or "_"',
      },
      {
        does: 'a tag with a plus sign',
        text: 'app:1.0+build',
        reason:
          'tag "1.0+build" is not 1 to 128 letters, digits, "_", "." or "-", the first a letter, a digit or "_"',
      },
      {
        does: 'a digest that is too short',
        text: 'nginx@sha256:abc',
        reason: 'digest "sha256:abc" does not have 64 lowercase hexadecimal digits after "sha256:"',
      },
      {
        does: 'an uppercase digest',
        text: `nginx@sha256:${'A1'.repeat(32)}`,
        reason: `digest "sha256:${'A1'.repeat(32)}" does not have 64 lowercase hexadecimal digits after "sha256:"`,
      },
      {
        does: 'a digest of the length of another algorithm',
        text: `nginx@sha512:${'a1'.repeat(32)}`,
        reason: `digest "sha512:${'a1'.repeat(32)}" does not have 128 lowercase hexadecimal digits after "sha512:"`,
      },
      {
        does: 'an unknown digest algorithm',
        text: `nginx@md5:${'a1'.repeat(16)}`,
        reason: `digest "md5:${'a1'.repeat(16)}" does not begin with one of sha256, sha384, sha512 and a colon`,
      },
      {
        does: 'an empty digest',
        text: 'nginx:1@',
        reason: 'digest "" does not begin with one of sha256, sha384, sha512 and a colon',
      },
      {
        does: 'two digests',
        text: `nginx@${SHA256}@${SHA256}`,
        reason: `digest "${`${SHA256}@${SHA256}`.slice(0, 100)}…" does not have 64 lowercase hexadecimal digits after "sha256:"`,
      },
      {
        does: 'a repository of more than 255 characters',
        text: `quay.io/${'a'.repeat(256)}`,
        reason: `repository "${'a'.repeat(100)}…" is longer than 255 characters`,
      },
      {
        does: 'a URL',
        text: 'https://quay.io/foo',
        reason:
          'image reference "https://quay.io/foo" is not of the form [registry/]repository[:tag][@digest]',
      },
      {
        does: 'a slash at the end',
        text: 'foo/',
        reason: 'image reference "foo/" is not of the form [registry/]repository[:tag][@digest]',
      },
      {
        does: 'what the runtime calls an untagged image',
        text: '<none>',
        reason: 'image reference "<none>" is not of the form [registry/]repository[:tag][@digest]',
      },
    ])('$does', ({ text, reason }) => {
      expect(parseImageReference(text)).toEqual({ ok: false, reason });
    });

    it.each([
      '/foo',
      'foo//bar',
      'a___b',
      'a..b',
      'a._b',
      '-a',
      'a-',
      'a/_b',
      'foo:1:2',
      ':1',
      `@${SHA256}`,
      '[::1/a',
      '[::g]/a',
      'host:/a',
      'host:port/a',
      '-host.io/a',
      'host-.io/a',
      'café',
      `a:${'t'.repeat(129)}`,
      'a'.repeat(256 - 'library/'.length),
      '<none>@<none>',
      '<none>:<none>',
    ])('%s', (text) => {
      expect(reasonOf(text)).toEqual(expect.any(String));
    });
  });
});

describe('normalizeImage', () => {
  it('gives nothing for what is no reference', () => {
    expect(normalizeImage('Not A Reference')).toBeUndefined();
  });

  it('keeps images apart of which one name begins with the other', () => {
    expect(normalizeImage('app:1.2')).not.toBe(normalizeImage('app:1.20'));
  });

  const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:[._-][a-z0-9]{1,8})?$/);
  const registry = fc.constantFrom(
    '',
    'docker.io/',
    'index.docker.io/',
    'quay.io/',
    'localhost/',
    'r:5000/',
    '[::1]/',
  );
  const suffix = fc.constantFrom('', ':1', ':latest', `@${SHA256}`, `:1@${SHA512}`);
  const reference = fc
    .tuple(registry, fc.array(component, { minLength: 1, maxLength: 4 }), suffix)
    .map(([domain, path, end]) => `${domain}${path.join('/')}${end}`);

  it('changes nothing the second time', () => {
    fc.assert(
      fc.property(reference, (text) => {
        const canonical = normalizeImage(text);
        expect(canonical).toEqual(expect.any(String));
        expect(normalizeImage(canonical ?? '')).toBe(canonical);
      }),
    );
  });

  it('always names a registry, and a tag or a digest but not both', () => {
    fc.assert(
      fc.property(reference, (text) => {
        const result = parseImageReference(text);
        expect(result.ok).toBe(true);
        if (result.ok) {
          const { name, tag, digest, canonical } = result.reference;
          expect(name).toContain('/');
          expect([`${name}:${tag}`, `${name}@${digest}`]).toContain(canonical);
          expect(tag === undefined).not.toBe(digest === undefined);
        }
      }),
    );
  });

  it('answers any text with a canonical reference or with one line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const result = parseImageReference(text);
        const answer = result.ok ? result.reference.canonical : result.reason;
        expect(answer).toMatch(/^[^\n\r]+$/);
      }),
    );
  });

  it('refuses a long hostile text at once', () => {
    const hostile = `${'a-'.repeat(100_000)}!`;
    const started = performance.now();
    expect(normalizeImage(hostile)).toBeUndefined();
    expect(normalizeImage(`${'a.'.repeat(100_000)}/!`)).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(1000);
  });
});
