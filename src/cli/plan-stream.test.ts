import { describe, expect, test } from 'vitest';
import { readPlan } from './plan-options.ts';
import { answerLine, linesOf } from './plan-stream.ts';

function settings(environment: NodeJS.ProcessEnv = {}) {
  const result = readPlan(['--stream'], environment);
  if (!result.ok || result.command.run !== 'stream') throw new Error('not a stream');
  return result.command.settings;
}

function answer(line: unknown, environment?: NodeJS.ProcessEnv): Record<string, unknown> {
  const text = answerLine(typeof line === 'string' ? line : JSON.stringify(line), settings(environment));
  return JSON.parse(text ?? '{}') as Record<string, unknown>;
}

const CONTAINERS = { containers: [{ name: 'a', image: 'nginx:1' }] };
const IMAGES = ['docker.io/library/nginx:1'];
const node = (name: string, more: object = {}) => ({ metadata: { name }, ...more });
const deployment = (metadata: object, spec: object) => ({
  ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata },
  spec: { template: { spec } },
});

describe('linesOf', () => {
  async function lines(chunks: string[], most?: number): Promise<(string | undefined)[]> {
    async function* bytes() {
      for (const chunk of chunks) yield Buffer.from(chunk);
    }
    const found: (string | undefined)[] = [];
    for await (const line of linesOf(bytes(), most)) found.push(line);
    return found;
  }

  test.each<[string, string[], (string | undefined)[]]>([
    ['one chunk with several', ['a\nb\nc\n'], ['a', 'b', 'c']],
    ['the last one without an end', ['a\nb'], ['a', 'b']],
    ['lines over several chunks', ['a', 'b\nc', 'd', '\n'], ['ab', 'cd']],
    ['a character that is cut in two', ['\u00e9'], ['\u00e9']],
    ['empty ones', ['\n\na\n'], ['', '', 'a']],
    ['nothing', [], []],
  ])('%s', async (_what, chunks, wanted) => {
    expect(await lines(chunks)).toEqual(wanted);
  });

  test('does not keep a line that is too long, and goes on behind it', async () => {
    expect(await lines(['123', '456', '7\n1234', '\n12', '34567'], 5)).toEqual([
      undefined,
      '1234',
      undefined,
    ]);
  });

  test('puts a character together that came in two chunks', async () => {
    async function* bytes() {
      yield Buffer.from([0xc3]);
      yield Buffer.from([0xa9, 0x0a]);
    }
    for await (const line of linesOf(bytes())) expect(line).toBe('é');
  });
});

describe('answerLine', () => {
  test('gives exactly the fields that were promised, nodes in the order of the input', () => {
    const nodes = [
      node('z'),
      node('tainted', { spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] } }),
      node('a'),
      node('away', { status: { conditions: [{ type: 'Ready', status: 'False' }] } }),
      node('unsaid', { status: { conditions: [] } }),
    ];
    expect(answer({ id: 'x', podSpec: CONTAINERS, nodes })).toEqual({
      ...{ id: 'x', images: IMAGES, nodes: ['z', 'a', 'unsaid'] },
      skipped: [
        { node: 'tainted', reason: 'taint k:NoSchedule is not tolerated' },
        { node: 'away', reason: 'node is not ready' },
      ],
      warnings: [],
    });
  });

  test('plans a workload whether or not it opted in', () => {
    for (const annotations of [{}, { 'ips/prewarm': 'true' }, { 'ips/prewarm': 'false' }])
      expect(
        answer({ id: 1, workload: deployment({ annotations }, CONTAINERS), nodes: [node('a')] }),
      ).toEqual({
        ...{ id: 1, images: IMAGES, nodes: ['a'], skipped: [], warnings: [] },
      });
  });

  test('counts a node that has the images as a target', () => {
    const status = { images: [{ names: IMAGES, sizeBytes: 1 }] };
    expect(answer({ podSpec: CONTAINERS, nodes: [node('a', { status })] })['nodes']).toEqual(['a']);
  });

  test('names an invalid image in a warning, and goes on with the others', () => {
    const containers = [{ name: 'bad', image: 'Nginx' }, ...CONTAINERS.containers];
    const { images, warnings } = answer({ podSpec: { containers }, nodes: [] });
    expect([images, warnings]).toEqual([IMAGES, [expect.stringContaining('image "Nginx" is left out')]]);
  });

  test('takes a node that is written into a pod for a wish', () => {
    const nodes = [node('a'), node('b')];
    const spec = { ...CONTAINERS, nodeName: 'b' };
    expect(answer({ podSpec: spec, nodes })['nodes']).toEqual(['b']);
    expect(answer({ workload: { apiVersion: 'v1', kind: 'Pod', spec }, nodes })['nodes']).toEqual(['b']);
  });

  test("takes the node of a pod from a cluster for the scheduler's answer, unless its user wrote it", () => {
    const nodes = [node('a'), node('b')];
    const pod = (metadata: object) => ({
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { uid: 'u', ...metadata } },
      spec: { ...CONTAINERS, nodeName: 'b' },
    });
    expect(answer({ workload: pod({}), nodes })['nodes']).toEqual(['a', 'b']);
    const managedFields = [{ fieldsV1: { 'f:spec': { 'f:nodeName': {} } } }];
    expect(answer({ workload: pod({ managedFields }), nodes })['nodes']).toEqual(['b']);
  });

  test('a RuntimeClass decides where it is given, and is asked for where it is not', () => {
    const line = { podSpec: { ...CONTAINERS, runtimeClassName: 'kata' }, nodes: [node('a')] };
    const kata = { metadata: { name: 'kata' }, handler: 'kata' };
    expect(answer(line)).toMatchObject({
      nodes: [],
      skipped: [{ node: 'a', reason: 'RuntimeClass kata not found' }],
      warnings: [expect.stringContaining('RuntimeClass kata is not among the objects')],
    });
    expect(answer({ ...line, runtimeClasses: [kata] })).toMatchObject({ nodes: ['a'], warnings: [] });
    expect(answer({ ...line, runtimeClass: kata })).toMatchObject({ nodes: ['a'], warnings: [] });
    const scheduling = { nodeSelector: { vm: 'yes' } };
    expect(answer({ ...line, runtimeClasses: [{ ...kata, scheduling }] })['nodes']).toEqual([]);
  });

  describe('what a node runs', () => {
    const old = { nodeInfo: { kubeletVersion: 'v1.30.0', containerRuntimeVersion: 'containerd://1.7.0' } };
    const line = { podSpec: CONTAINERS, nodes: [node('old', { status: old }), node('unsaid')] };

    test('old nodes count on the no-op, and a warning says so', () => {
      expect(answer(line)).toMatchObject({
        nodes: ['old', 'unsaid'],
        warnings: [expect.stringMatching(/^1 node .*\(old\).*WORKER_IMAGE_LEGACY/)],
      });
    });

    test.each<[string, NodeJS.ProcessEnv, string[], number]>([
      ['there is no no-op', { WORKER_IMAGE_LEGACY: '' }, ['unsaid'], 0],
      ['there is one', { WORKER_IMAGE_LEGACY: 'r.example/noop:1' }, ['old', 'unsaid'], 0],
      ['only image volumes', { PULL_STRATEGY: 'image-volume' }, ['unsaid'], 0],
      ['only the no-op', { PULL_STRATEGY: 'injected-noop' }, ['old', 'unsaid'], 1],
    ])('the settings say: %s', (_what, environment, nodes, warnings) => {
      const found = answer(line, environment);
      expect(found['nodes']).toEqual(nodes);
      expect(found['warnings']).toHaveLength(warnings);
    });

    test('a Windows node is left out; only its status says that it is one', () => {
      const windows = node('w', { status: { nodeInfo: { operatingSystem: 'windows' } } });
      const labelled = node('l', { metadata: { name: 'l', labels: { 'kubernetes.io/os': 'windows' } } });
      const { nodes, skipped } = answer({ podSpec: CONTAINERS, nodes: [windows, labelled] });
      expect(nodes).toEqual(['l']);
      expect(skipped).toEqual([{ node: 'w', reason: expect.stringContaining('Windows') }]);
    });
  });

  test.each<[string, unknown, unknown, string]>([
    ['no JSON', 'nope', null, 'not valid JSON'],
    ['no object', '[1]', null, 'not a JSON object'],
    ['nothing to plan', { id: 1, nodes: [] }, 1, 'neither workload nor podSpec'],
    ['two things to plan', { id: 1, workload: {}, podSpec: {}, nodes: [] }, 1, 'only one may be'],
    ['no nodes', { id: 1, podSpec: {} }, 1, 'nodes is missing'],
    ['nodes that are no list', { id: 1, podSpec: {}, nodes: {} }, 1, 'nodes must be a list'],
    ['a node that is nothing', { id: 1, podSpec: {}, nodes: [null] }, 1, 'nodes[0] must be an object'],
    ['a node without metadata', { id: 1, podSpec: {}, nodes: [{}] }, 1, 'nodes[0].metadata is missing'],
    [
      'a node without a name',
      { id: 1, podSpec: {}, nodes: [{ metadata: {} }] },
      1,
      'nodes[0].metadata.name is missing',
    ],
    ['a node twice', { id: 1, podSpec: {}, nodes: [node('a'), node('a')] }, 1, 'two nodes a'],
    [
      'a workload that is none',
      { id: 1, workload: { apiVersion: 'v1', kind: 'Service' }, nodes: [] },
      1,
      'v1 Service',
    ],
    ['a workload without a kind', { id: 1, workload: {}, nodes: [] }, 1, 'without a kind'],
    [
      'a Deployment without a template',
      { id: 1, workload: { kind: 'Deployment', spec: {} }, nodes: [] },
      1,
      'workload.spec.template.spec is missing',
    ],
    ['a Pod without a spec', { id: 1, workload: { kind: 'Pod' }, nodes: [] }, 1, 'workload.spec is missing'],
    ['a workload that is text', { id: 1, workload: 'x', nodes: [] }, 1, 'workload must be an object'],
    [
      'a pod spec of a wrong type',
      { id: { a: [1] }, podSpec: { containers: 'x' }, nodes: [] },
      { a: [1] },
      'podSpec.containers must be a list',
    ],
    [
      'runtimeClasses that are no list',
      { id: 1, podSpec: {}, nodes: [], runtimeClasses: 1 },
      1,
      'runtimeClasses must be a list',
    ],
    [
      'a runtimeClass without a name',
      { id: 1, podSpec: {}, nodes: [], runtimeClass: { metadata: {} } },
      1,
      'runtimeClass.metadata.name is missing',
    ],
    [
      'an id too deep to be written again',
      `{"id":${'['.repeat(100_000)}${']'.repeat(100_000)},"podSpec":{},"nodes":[]}`,
      null,
      'stack',
    ],
  ])('answers %s with an error', (_what, line, id, error) => {
    expect(answer(line)).toEqual({ id, error: expect.stringContaining(error) });
  });

  test('null is nothing, as it is to Kubernetes', () => {
    const podSpec = {
      containers: null,
      affinity: null,
      tolerations: null,
      nodeSelector: null,
      os: null,
      volumes: null,
    };
    const nodes = [{ metadata: { name: 'a', labels: null }, spec: null, status: null }];
    expect(answer({ id: null, podSpec, nodes, runtimeClasses: null, workload: null })).toEqual({
      ...{ id: null, images: [], nodes: ['a'], skipped: [], warnings: [] },
    });
  });

  test('names of what every object inherits are names like any other', () => {
    const line = `{"podSpec":{"nodeSelector":{"__proto__":"x"}},"nodes":[
      {"metadata":{"name":"a","labels":{"__proto__":"x"}}},{"metadata":{"name":"constructor"}}]}`;
    expect(answer(line.replaceAll('\n', ''))).toMatchObject({ nodes: ['a'] });
  });

  test.each([
    ['', ' '],
    ['\r', '\t'],
  ])('passes over an empty line', (...lines) => {
    for (const line of lines) expect(answerLine(line, settings())).toBeUndefined();
  });
});
