import fc from 'fast-check';
import { expect, it } from 'vitest';
import { jsonPointer } from './json-patch.ts';

it.each<{ parts: string[]; pointer: string }>([
  { parts: [], pointer: '' },
  { parts: ['metadata', 'labels', 'ips/prewarm'], pointer: '/metadata/labels/ips~1prewarm' },
  { parts: ['a~b'], pointer: '/a~0b' },
  { parts: ['~1', '/0'], pointer: '/~01/~10' },
  { parts: ['', ''], pointer: '//' },
])('the path of $parts is $pointer', ({ parts, pointer }) => {
  expect(jsonPointer(...parts)).toBe(pointer);
});

it('any parts can be read back as RFC 6901 says', () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a~/01]*$/), { minLength: 1 }), (parts) => {
      const [empty, ...read] = jsonPointer(...parts).split('/');
      expect(empty).toBe('');
      expect(read.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))).toEqual(parts);
    }),
  );
});
