import { describe, expect, test } from 'vitest';
import { POD_SPEC } from './plan-shapes.ts';
import { pathText, type Shape, settle } from './shape.ts';

const BOX: Shape = {
  fields: { name: 'string', size: 'quantity', open: 'boolean', count: 'number', tags: { map: 'string' } },
  required: ['name'],
};
const BOXES: Shape = { fields: { boxes: { list: BOX } } };

describe('settle', () => {
  test.each<[string, unknown, string]>([
    ['not an object', 'x', ' must be an object, not a string'],
    ['a list for an object', [], ' must be an object, not a list'],
    ['an object for a list', { boxes: {} }, 'boxes must be a list, not an object'],
    ['null in a list', { boxes: [null] }, 'boxes[0] must be an object, not null'],
    [
      'a number for a string',
      { boxes: [{ name: 1 }] },
      'boxes[0].name must be a string, not a number: put it in quotes',
    ],
    ['an object for a string', { boxes: [{ name: {} }] }, 'boxes[0].name must be a string, not an object'],
    [
      'a string for a boolean',
      { boxes: [{ name: 'a', open: 'true' }] },
      'boxes[0].open must be a boolean, not a string',
    ],
    [
      'a string for a number',
      { boxes: [{ name: 'a', count: '1' }] },
      'boxes[0].count must be a number, not a string',
    ],
    [
      'a list for a quantity',
      { boxes: [{ name: 'a', size: [] }] },
      'boxes[0].size must be a quantity, not a list',
    ],
    [
      'a boolean in a map',
      { boxes: [{ name: 'a', tags: { 'ips/x': true } }] },
      'boxes[0].tags["ips/x"] must be a string, not a boolean: put it in quotes',
    ],
    [
      'a wrong value under __proto__',
      JSON.parse('{"boxes":[{"name":"a","tags":{"__proto__":{}}}]}'),
      'boxes[0].tags.__proto__ must be a string, not an object',
    ],
    ['what has to be there is not', { boxes: [{ name: 'a' }, {}] }, 'boxes[1].name is missing'],
    ['what has to be there is empty', { boxes: [{ name: '' }] }, 'boxes[0].name is missing'],
    ['what has to be there is null', { boxes: [{ name: null }] }, 'boxes[0].name is missing'],
  ])('%s', (_what, value, wanted) => {
    const found = settle(value, BOXES);
    expect(found && `${pathText(found.path)} ${found.problem}`).toBe(wanted);
  });

  test('takes null for absent in a field, and for an empty string in a map, as the API server does', () => {
    const value = JSON.parse('{"boxes":[{"name":"a","open":null,"tags":{"a":null,"__proto__":null}}]}');
    expect(settle(value, BOXES)).toBeUndefined();
    expect(JSON.stringify(value)).toBe('{"boxes":[{"name":"a","tags":{"a":"","__proto__":""}}]}');
  });

  test('does not look at fields that are not read, and takes numbers for quantities', () => {
    expect(settle({ boxes: [{ name: 'a', size: 4, other: [null] }], more: 1 }, BOXES)).toBeUndefined();
  });

  test('tells where in a pod spec a mistake is', () => {
    const values = {
      nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'In', values: ['1', 2] }] }],
    };
    const spec = { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: values } } };
    expect(pathText(settle(spec, POD_SPEC)?.path ?? [])).toBe(
      'affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values[1]',
    );
  });
});
