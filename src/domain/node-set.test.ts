import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyAt, listKeys, nodeKey, packNodes, unpackNodes } from './node-set.ts';

const key = fc.stringMatching(/^[\w-]{6}$/);

describe('nodeKey', () => {
  it('is six characters of the uid, the same for every state of a node', () => {
    // printf '%s' 4f1c… | openssl dgst -sha256 -binary | base64: its first six characters.
    const uid = '4f1c9a3e-0d6b-4f5e-9d55-0a4cf3a5a7a1';
    expect(nodeKey({ metadata: { name: 'n1', uid } })).toBe(nodeKey({ metadata: { name: 'other', uid } }));
    expect(nodeKey({ metadata: { uid: 'abc' } })).toBe('ungWv4');
  });

  it('differs for a node that was made anew under its old name', () => {
    const before = nodeKey({ metadata: { name: 'n1', uid: 'a' } });
    expect(nodeKey({ metadata: { name: 'n1', uid: 'b' } })).not.toBe(before);
  });

  it('falls back to the name, as for nodes in tests', () => {
    expect(nodeKey({ metadata: { name: 'abc' } })).toBe('ungWv4');
  });

  it('fits into JSON and annotations as it is', () => {
    fc.assert(
      fc.property(fc.string(), (uid) => {
        expect(nodeKey({ metadata: { uid } })).toMatch(/^[A-Za-z0-9_-]{6}$/);
      }),
    );
  });

  it('tells five thousand nodes apart', () => {
    const keys = Array.from({ length: 5000 }, (_, index) => nodeKey({ metadata: { uid: `uid-${index}` } }));
    expect(new Set(keys).size).toBe(5000);
    expect(packNodes(keys)).toHaveLength(30_000);
  });
});

describe('listKeys and keyAt', () => {
  it('give the key of the node at an index, in the order of the list', () => {
    const nodes = ['b', 'a', 'b'].map((uid) => ({ metadata: { uid } }));
    const list = listKeys(nodes);
    expect([0, 1, 2].map((index) => keyAt(list, index))).toEqual(nodes.map(nodeKey));
    expect(keyAt(list, 3)).toBe('');
    expect(listKeys([])).toBe('');
  });
});

describe('packNodes and unpackNodes', () => {
  it('give back what was packed', () => {
    fc.assert(
      fc.property(fc.uniqueArray(key), (keys) => {
        expect(unpackNodes(packNodes(keys))).toEqual(new Set(keys));
      }),
    );
  });

  it('write the same set the same way, in whatever order it came', () => {
    fc.assert(
      fc.property(fc.uniqueArray(key), (keys) => {
        expect(packNodes(keys)).toBe(packNodes(new Set(keys.toReversed())));
      }),
    );
    expect(packNodes(['bbbbbb', 'aaaaaa'])).toBe('aaaaaabbbbbb');
  });

  it.each<{ what: string; packed: string | undefined; keys: string[] }>([
    { what: 'nothing', packed: undefined, keys: [] },
    { what: 'an empty text', packed: '', keys: [] },
    { what: 'a text that somebody cut', packed: 'aaaaaabbb', keys: ['aaaaaa'] },
    { what: 'a node that stands there twice', packed: 'aaaaaaaaaaaa', keys: ['aaaaaa'] },
  ])('read $what', ({ packed, keys }) => {
    expect([...unpackNodes(packed)]).toEqual(keys);
  });
});
