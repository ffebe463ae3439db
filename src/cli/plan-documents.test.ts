import { describe, expect, test } from 'vitest';
import { problemAt, problemText, readDocuments } from './plan-documents.ts';

const POD = 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n';

function kinds(text: string): unknown[] {
  return readDocuments('x.yaml', text).objects.map(({ object }) => object['kind']);
}

function problems(text: string): string[] {
  return readDocuments('x.yaml', text).problems.map(problemText);
}

describe('readDocuments', () => {
  test.each<[string, string, string[]]>([
    [
      'several documents, and none where nothing stands',
      `---\n${POD}---\n# only a comment\n---\n${POD}---\n`,
      ['Pod', 'Pod'],
    ],
    ['JSON', '{"kind":"Pod"}', ['Pod']],
    ['JSON behind a byte order mark and spaces', '\uFEFF \n{"kind":"Pod"}', ['Pod']],
    ['YAML that begins as JSON does', '{kind: Pod}', ['Pod']],
    ['a List', '{"kind":"List","items":[{"kind":"Node"},{"kind":"Pod"}]}', ['Node', 'Pod']],
    ['a List without items', '{"kind":"List","items":null}', []],
    [
      'a list of one kind, whose items do not name theirs',
      '{"kind":"NodeList","items":[{"metadata":{}}]}',
      ['Node'],
    ],
    ['an object whose kind only ends like a list', '{"kind":"AllowList","spec":{}}', ['AllowList']],
    ['a list without a kind', '[{"kind":"Node"},{"kind":"Pod"}]', ['Node', 'Pod']],
    ['a list of YAML without a kind', '- kind: Node\n- kind: Pod\n', ['Node', 'Pod']],
    ['objects of JSON, each on its line', '{"kind":"Node"}\n{"kind":"Pod"}\n', ['Node', 'Pod']],
    [
      'objects of JSON as jq prints them',
      '{\n  "kind": "Node",\n  "spec": {\n  }\n}\n{\n  "kind": "Pod"\n}\n',
      ['Node', 'Pod'],
    ],
    ['nothing', '', []],
  ])('reads %s', (_what, text, wanted) => {
    expect(kinds(text)).toEqual(wanted);
    expect(problems(text)).toEqual([]);
  });

  test.each<[string, string, string[]]>([
    ['text', 'hello', ['x.yaml, document 1, line 1: is not an object of Kubernetes']],
    [
      'no kind',
      `${POD}---\na: 1\n`,
      ['x.yaml, document 2, line 6: there is no kind: not an object of Kubernetes'],
    ],
    ['items that are no list', '{"kind":"List","items":{}}', ['x.yaml, document 1: items must be a list']],
    [
      'an item that is nothing',
      '{"kind":"List","items":[null]}',
      ['x.yaml, document 1: items[0] is not an object of Kubernetes'],
    ],
    [
      'a list within a list',
      '[{"kind":"Pod"},[]]',
      ['x.yaml, document 1: [1] is not an object of Kubernetes'],
    ],
    [
      'the second of two objects of JSON',
      '{"kind":"Pod"}\n{"a":1}\n',
      ['x.yaml, document 2: there is no kind: not an object of Kubernetes'],
    ],
    [
      'a tab',
      `${POD}---\nkind:\n\t- x\n`,
      ['x.yaml, document 2, line 7: YAML: Tabs are not allowed as indentation'],
    ],
    ['a key twice', 'kind: Pod\nkind: Node\n', ['x.yaml, document 1, line 2: YAML: Map keys must be unique']],
    [
      'broken JSON',
      '{"kind": "Pod",\n "a": }}',
      ['x.yaml, document 1, line 2: YAML: Unexpected flow-map-end token in YAML stream: "}"'],
    ],
  ])('tells where %s stands', (_what, text, wanted) => {
    expect(problems(text)).toEqual(wanted);
  });

  test('reads the documents beside a broken one', () => {
    expect(kinds(`${POD}---\na: [\n---\n${POD}`)).toEqual(['Pod', 'Pod']);
  });

  test('does not build what a few lines of aliases would become', () => {
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
    for (const [from, to] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg', 'gh'])
      bomb.push(`${to}: &${to} [${`*${from}, `.repeat(10)}]`);
    expect(problems(`kind: Pod\n${bomb.join('\n')}\n`)[0]).toContain('Excessive alias count');
  });

  test('reads scalars as kubectl does', () => {
    const text = 'kind: Pod\nyes: yes\ndate: 2026-01-02\nminutes: 12:30\noctal: 010\nnothing: ~\n';
    const [{ object } = { object: {} }] = readDocuments('x.yaml', text).objects;
    expect(object).toEqual({
      kind: 'Pod',
      true: true,
      date: '2026-01-02',
      minutes: '12:30',
      octal: 8,
      nothing: null,
    });
  });

  test('tells the line of a field, or of what it is missing from', () => {
    const [found] = readDocuments(
      'x.yaml',
      `${POD}---\n${POD}spec:\n  containers:\n    - image: 3\n`,
    ).objects.slice(1);
    if (!found) throw new Error('nothing was read');
    const line = (path: (string | number)[]) => problemAt(found.place, path, '').line;
    expect(line(['spec', 'containers', 0, 'image'])).toBe(12);
    expect(line(['spec', 'containers', 0, 'name'])).toBe(12);
    expect(line(['status', 'phase'])).toBe(6);
  });
});
