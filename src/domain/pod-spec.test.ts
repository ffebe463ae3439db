import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readMetadata, unreadAnnotations } from './metadata.ts';
import { readPodSpec } from './pod-spec.ts';
import { readStrings } from './unchecked.ts';

const REQUIRED = 'requiredDuringSchedulingIgnoredDuringExecution';
const PREFERRED = 'preferredDuringSchedulingIgnoredDuringExecution';

describe('readPodSpec', () => {
  it('takes the fields in use as they stand, and no others', () => {
    const spec = {
      nodeName: 'n1',
      serviceAccountName: 'web',
      runtimeClassName: 'kata',
      nodeSelector: { disk: 'ssd' },
      affinity: {
        nodeAffinity: {
          [REQUIRED]: {
            nodeSelectorTerms: [
              {
                matchExpressions: [
                  { key: 'a', operator: 'In', values: ['b'] },
                  { key: 'c', operator: 'Exists' },
                ],
                matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }],
              },
              {},
            ],
          },
          [PREFERRED]: [{ weight: 3, preference: { matchExpressions: [{ key: 'a', operator: 'Exists' }] } }],
        },
      },
      tolerations: [
        { key: 'a', operator: 'Equal', value: 'b', effect: 'NoExecute', tolerationSeconds: 9 },
        {},
      ],
      containers: [{ name: 'main', image: 'app:1', imagePullPolicy: 'Always' }],
      initContainers: [{ name: 'init' }],
      volumes: [{ name: 'model', image: { reference: 'model:1', pullPolicy: 'Never' } }],
      imagePullSecrets: [{ name: 'secret' }, {}],
      os: { name: 'linux' },
      hostNetwork: true,
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: 'zone',
          whenUnsatisfiable: 'DoNotSchedule',
          minDomains: 2,
          nodeAffinityPolicy: 'Honor',
          nodeTaintsPolicy: 'Ignore',
          matchLabelKeys: ['pod-template-hash'],
          labelSelector: {
            matchLabels: { app: 'web' },
            matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['b'] }],
          },
        },
      ],
    };
    const rest = { dnsPolicy: 'Default', ephemeralContainers: [{ name: 'debug', image: 'debug:1' }] };
    expect(readPodSpec({ ...spec, ...rest })).toEqual({ spec, warnings: [] });
  });

  it.each<{ what: string; value: unknown; spec: object; warnings: string[] }>([
    { what: 'nothing', value: undefined, spec: {}, warnings: [] },
    { what: 'null', value: null, spec: {}, warnings: [] },
    { what: 'a number', value: 7, spec: {}, warnings: ['the pod spec is not an object; ignored'] },
    { what: 'a list', value: [{}], spec: {}, warnings: ['the pod spec is not an object; ignored'] },
    {
      what: 'null in every field',
      value: {
        ...{ nodeName: null, nodeSelector: null, affinity: null, tolerations: null, containers: null },
        ...{ initContainers: null, volumes: null, imagePullSecrets: null, serviceAccountName: null },
        ...{ runtimeClassName: null, os: null, hostNetwork: null, topologySpreadConstraints: null },
      },
      spec: {},
      warnings: [],
    },
    {
      what: 'names that are none',
      value: { nodeName: 7, serviceAccountName: {}, runtimeClassName: 'x'.repeat(254) },
      spec: {},
      warnings: [
        'nodeName is not a name of at most 253 characters; ignored',
        'runtimeClassName is not a name of at most 253 characters; ignored',
        'serviceAccountName is not a name of at most 253 characters; ignored',
      ],
    },
    {
      what: 'containers that are none, beside one',
      value: { containers: [null, 7, { name: 'a', image: 7 }, { image: 'app:1', name: 7 }] },
      spec: { containers: [{ name: '', image: 'app:1' }] },
      warnings: ['containers: 3 of 4 cannot be read; ignored'],
    },
    {
      what: 'lists that are none',
      value: { containers: 7, initContainers: {}, volumes: 'x', tolerations: true, imagePullSecrets: 1 },
      spec: {},
      warnings: ['tolerations', 'containers', 'initContainers', 'volumes', 'imagePullSecrets'].map(
        (name) => `${name} is not a list; ignored`,
      ),
    },
    {
      what: 'volumes of which the image is none',
      value: { volumes: [{ name: 'v', image: 7 }, { name: 'w', image: { reference: [] } }, { name: 'x' }] },
      spec: { volumes: [] },
      warnings: ['volumes: 2 of 3 cannot be read; ignored'],
    },
    {
      what: 'a node selector with other things than text',
      value: { nodeSelector: { disk: 'ssd', cpus: 7, x: null } },
      spec: { nodeSelector: { disk: 'ssd' } },
      warnings: ['nodeSelector: 2 of 3 values are not text; ignored'],
    },
    {
      what: 'a node selector that is none',
      value: { nodeSelector: [] },
      spec: {},
      warnings: ['nodeSelector is not an object; ignored'],
    },
    {
      what: 'a toleration that would tolerate more without what cannot be read',
      value: {
        tolerations: [
          { key: 7, operator: 'Exists' },
          { operator: 'Exists', effect: {} },
        ],
      },
      spec: { tolerations: [] },
      warnings: ['tolerations: 2 of 2 cannot be read; ignored'],
    },
    {
      what: 'a term that would match more nodes without what cannot be read',
      value: {
        affinity: {
          nodeAffinity: {
            [REQUIRED]: {
              nodeSelectorTerms: [
                {
                  matchExpressions: [
                    { key: 'a', operator: 'Exists' },
                    { key: 'b', operator: 7 },
                  ],
                },
                { matchExpressions: [{ key: 'a', operator: 'Gt', values: [7] }] },
                { matchFields: 7 },
              ],
            },
          },
        },
      },
      spec: { affinity: { nodeAffinity: { [REQUIRED]: { nodeSelectorTerms: [] } } } },
      warnings: ['nodeSelectorTerms: 3 of 3 cannot be read; ignored'],
    },
    {
      what: 'more requirements in all than count of any list',
      value: {
        affinity: {
          nodeAffinity: {
            [REQUIRED]: { nodeSelectorTerms: [{ matchExpressions: Array(600).fill({}) }, manyFields(600)] },
            [PREFERRED]: [
              { weight: 1, preference: manyFields(600) },
              { weight: 2, preference: manyFields(600) },
            ],
          },
        },
      },
      spec: {
        affinity: {
          nodeAffinity: {
            [REQUIRED]: {
              nodeSelectorTerms: [{ matchExpressions: Array(600).fill({ key: '', operator: '' }) }],
            },
            [PREFERRED]: [{ weight: 1, preference: manyFields(600) }],
          },
        },
      },
      warnings: [
        'nodeSelectorTerms: 1 of 2 cannot be read; ignored',
        'preferred node affinity: 1 of 2 cannot be read; ignored',
      ],
    },
    {
      what: 'a required affinity that is none',
      value: { affinity: { nodeAffinity: { [REQUIRED]: [] } } },
      spec: {},
      warnings: ['the required node affinity is not an object; ignored'],
    },
    {
      what: 'an operating system that is none',
      value: { os: { name: 'plan9' } },
      spec: {},
      warnings: ['os is neither linux nor windows; ignored'],
    },
    {
      what: 'the older name of the service account',
      value: { serviceAccount: 'web', serviceAccountName: '' },
      spec: { serviceAccountName: 'web' },
      warnings: [],
    },
    { what: 'an empty one', value: { os: {}, affinity: {} }, spec: {}, warnings: [] },
    {
      what: 'spread constraints and wishes that are none',
      value: {
        affinity: { nodeAffinity: { [PREFERRED]: [{ weight: '3', preference: {} }, { weight: 3 }] } },
        topologySpreadConstraints: [{}, { maxSkew: 1, topologyKey: 'zone' }],
      },
      spec: { affinity: { nodeAffinity: { [PREFERRED]: [] } }, topologySpreadConstraints: [] },
      warnings: [
        'preferred node affinity: 2 of 2 cannot be read; ignored',
        'topologySpreadConstraints: 2 of 2 cannot be read; ignored',
      ],
    },
  ])('reads $what', ({ value, spec, warnings }) => {
    expect(readPodSpec(value)).toEqual({ spec, warnings });
  });

  it.each(['containers', 'tolerations', 'volumes', 'imagePullSecrets'])('reads the first 1000 %s', (name) => {
    const entry = { name: 'a', key: 'a', image: name === 'volumes' ? { reference: 'a:1' } : 'a:1' };
    const { spec, warnings } = readPodSpec({ [name]: Array(10_000).fill(entry) });
    expect(spec[name as 'containers']).toHaveLength(1000);
    expect(warnings).toEqual([`${name}: the first 1000 of 10000 count; the others are ignored`]);
  });

  it('reads the first 1000 of a node selector', () => {
    const nodeSelector = Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`k${index}`, 'x']));
    const { spec, warnings } = readPodSpec({ nodeSelector });
    expect(Object.keys(spec.nodeSelector ?? {})).toHaveLength(1000);
    expect(warnings).toEqual(['nodeSelector: the first 1000 of 3000 count; the others are ignored']);
  });

  it('never fails, and reads what it read as the same', () => {
    const names = [
      ...['nodeName', 'nodeSelector', 'affinity', 'nodeAffinity', REQUIRED, PREFERRED, 'nodeSelectorTerms'],
      ...['matchExpressions', 'matchFields', 'key', 'operator', 'values', 'tolerations', 'containers', 'os'],
      ...['volumes', 'image', 'reference', 'name', 'topologySpreadConstraints', 'labelSelector', '__proto__'],
    ];
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof({ maxDepth: 7 }, tie('leaf'), tie('list'), tie('fields'), tie('fields')),
      leaf: fc.constantFrom(null, 7, '', 'x', true, Number.NEGATIVE_INFINITY, undefined),
      list: fc.array(tie('tree'), { maxLength: 3 }),
      fields: fc.dictionary(fc.constantFrom(...names), tie('tree'), { maxKeys: 5 }),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        const { spec } = readPodSpec(value);
        expect(readPodSpec(spec)).toEqual({ spec, warnings: [] });
      }),
      { numRuns: 1000 },
    );
  });
});

describe('readMetadata', () => {
  it.each<{ value: unknown; metadata: object }>([
    { value: undefined, metadata: {} },
    { value: [], metadata: {} },
    {
      value: { name: 7, labels: [], annotations: { 'ips/prewarm': true }, ownerReferences: [null, {}] },
      metadata: { annotations: {}, ownerReferences: [] },
    },
    { value: { generation: 1.5, labels: null, deletionTimestamp: {} }, metadata: {} },
  ])('reads $value', ({ value, metadata }) => {
    expect(readMetadata(value)).toEqual(metadata);
  });

  it('reads the first 1000 of annotations of our own, and passes over all others', () => {
    const many = (prefix: string) =>
      Array.from({ length: 3000 }, (_, index): [string, string] => [`${prefix}${index}`, 'x']);
    const annotations = Object.fromEntries([...many('other/'), ...many('ips/')]);
    expect(Object.keys(readMetadata({ annotations }).annotations ?? {})).toHaveLength(1000);
    expect(readMetadata({ annotations }).annotations).toHaveProperty('ips/0');
  });
});

describe('unreadAnnotations', () => {
  it('names those of IPS that YAML made no text of', () => {
    const annotations = { 'ips/prewarm': true, 'ips/priority': '3', other: 7 };
    expect(unreadAnnotations({ annotations })).toEqual([
      'annotation ips/prewarm is not text (in YAML, put it in quotes); ignored',
    ]);
    expect(unreadAnnotations({ annotations: 7 })).toEqual([]);
    expect(unreadAnnotations(null)).toEqual([]);
  });
});

describe('readStrings', () => {
  it('takes every key for a key', () => {
    const text = '{"__proto__":"a","constructor":"b","toString":"c","1":"d","x":7}';
    const read = readStrings(JSON.parse(text)) ?? {};
    expect(Object.entries(read)).toEqual([
      ['1', 'd'],
      ['__proto__', 'a'],
      ['constructor', 'b'],
      ['toString', 'c'],
    ]);
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  });
});

function manyFields(count: number): object {
  return { matchFields: Array(count).fill({ key: 'metadata.name', operator: 'In', values: ['n1'] }) };
}

it('keeps a list of all the hosts of a large cluster', () => {
  const values = Array.from({ length: 5000 }, (_, index) => `node-${index}`);
  const nodeSelectorTerms = [{ matchFields: [{ key: 'metadata.name', operator: 'In', values }] }];
  const affinity = { nodeAffinity: { [REQUIRED]: { nodeSelectorTerms } } };
  expect(readPodSpec({ affinity })).toEqual({ spec: { affinity }, warnings: [] });
});
