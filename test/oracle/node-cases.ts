import fc from 'fast-check';
import type { KubernetesNode, PodSpec, RuntimeClass } from '../../src/domain/kubernetes.ts';

/** One pod, one node, and the RuntimeClass that the pod may name: as they would stand in the API. */
export type NodeCase = { pod: { spec: PodSpec }; node: KubernetesNode; runtimeClass?: RuntimeClass };

const NODES = ['n1', 'n2'];
const OS_LABEL = 'kubernetes.io/os';
const UNSCHEDULABLE = 'node.kubernetes.io/unschedulable';

const WORDS = ['ssd', 'hdd', '', 'linux', 'windows', 'amd64', 'arm64'];
const MAX_INT64 = '9223372036854775807';
/** Numbers to Go's ParseInt, to apimachinery's IsDecimalInteger, to both and to neither. */
const NUMBERS = [
  ...['0', '1', '5', '10', '007', '+5', '-5', '-0', '-1', MAX_INT64, '9223372036854775808'],
  ...['9007199254740993', `-${MAX_INT64}`, '-9223372036854775808', '-9223372036854775809'],
  ...[`${'0'.repeat(40)}6`, '1_000', '0x10', '1e1', '1.5', ' 5', '５', '+', '-', '+-5', '5n'],
];
/** Also names that every JavaScript object inherits. */
const KEYS = ['disk', 'zone', 'example.com/gpu', 'kubernetes.io/arch', 'constructor', '__proto__'];
const NUMERIC_KEY = 'cores';
const ODD_KEYS = [
  ...['', 'bad key', '-disk', 'disk-', 'a/b/c', '/disk', 'example.com/', 'Example.com/disk', 'a..b/c', 'é'],
  ...['k'.repeat(63), 'k'.repeat(64), `${'p'.repeat(253)}/k`, `${'p'.repeat(254)}/k`, 'a.b_c-D', 'disk\n'],
];
const ODD_VALUES = ['a b', '-', 'ssd-', '_', 'a/b', 'v'.repeat(63), 'v'.repeat(64), 'ß', 'ssd\n'];

/** Any short text of what labels are made of, and of what they must not be. */
const anyText = fc.string({ unit: fc.constantFrom(...'aZ09-_./ é'), maxLength: 8 });
const word = fc.constantFrom(...WORDS);
const number = fc.oneof(fc.constantFrom(...NUMBERS), fc.integer({ min: -9, max: 9 }).map(String));
const key = fc.constantFrom(...KEYS);
/** Of labels that pods ask for; a node's own os is decided apart. */
const asked = fc.constantFrom(...KEYS, OS_LABEL);
const anyKey = fc.oneof(fc.constantFrom(...ODD_KEYS), anyText, fc.constant(NUMERIC_KEY), asked);
const anyValue = fc.oneof(word, number, fc.constantFrom(...ODD_VALUES), anyText);

const labels = fc
  .tuple(
    fc.dictionary(key, word, { maxKeys: 4 }),
    seldom(
      number.map((value) => ({ [NUMERIC_KEY]: value })),
      60,
    ),
    seldom(
      fc.constantFrom('linux', 'windows', '').map((os) => ({ [OS_LABEL]: os })),
      60,
    ),
    seldom(fc.dictionary(anyKey, anyValue, { maxKeys: 2 }), 10),
  )
  .map(([plain, numeric, os, odd]) => ({ ...odd, ...plain, ...numeric, ...os }));

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt'];
const usualExpression = fc.oneof(
  fc.record({
    key: asked,
    operator: fc.constantFrom('In', 'NotIn'),
    values: fc.array(word, { minLength: 1, maxLength: 3 }),
  }),
  fc.record({
    key: asked,
    operator: fc.constantFrom('Exists', 'DoesNotExist'),
    values: seldom(fc.constantFrom([], null), 20),
  }),
  fc.record({
    key: fc.constant(NUMERIC_KEY),
    operator: fc.constantFrom('Gt', 'Lt'),
    values: fc.tuple(number),
  }),
);
const oddExpression = fc.record({
  key: seldom(anyKey, 95),
  operator: seldom(fc.constantFrom(...OPERATORS, 'Equals', 'in', ''), 95),
  values: seldom(fc.oneof(fc.array(anyValue, { maxLength: 3 }), fc.constant(null)), 70),
});
const expression = mostly(usualExpression, oddExpression, 90);

const usualField = fc.record({
  key: fc.constant('metadata.name'),
  operator: fc.constantFrom('In', 'NotIn'),
  values: fc.tuple(fc.constantFrom(...NODES)),
});
const oddField = fc.record({
  key: seldom(fc.constantFrom('metadata.name', 'metadata.namespace', 'spec.providerID', ''), 95),
  operator: seldom(fc.constantFrom('In', 'NotIn', ...OPERATORS, 'Equals', ''), 95),
  values: seldom(fc.array(fc.constantFrom(...NODES, ''), { maxLength: 2 }), 80),
});
const field = mostly(usualField, oddField, 80);

const term = fc.record({
  matchExpressions: seldom(orNull(fc.array(expression, { maxLength: 3 })), 80),
  matchFields: seldom(orNull(fc.array(field, { maxLength: 2 })), 25),
});
const affinity = fc.record({
  nodeAffinity: orNull(
    fc.record({
      requiredDuringSchedulingIgnoredDuringExecution: orNull(
        fc.record({ nodeSelectorTerms: orNull(fc.array(term, { maxLength: 3 })) }),
      ),
    }),
  ),
});
const loneTerm = mostly(
  mostly(usualExpression, oddExpression, 50).map((one) => ({ matchExpressions: [one] })),
  mostly(usualField, oddField, 50).map((one) => ({ matchFields: [one] })),
  80,
);
const loneRequirement = loneTerm.map((one) => ({
  nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [one] } },
}));

const effect = mostly(
  fc.constantFrom('NoSchedule', 'NoExecute', 'PreferNoSchedule'),
  fc.constantFrom('', 'NoStart', 'noschedule'),
  90,
);
const taintKey = fc.constantFrom('dedicated', 'loss', UNSCHEDULABLE, 'node.kubernetes.io/unreachable');
const taintValue = fc.oneof(fc.constantFrom('gpu', ''), number);
const taint = fc.record({ key: seldom(taintKey, 98), value: seldom(taintValue, 80), effect });
const tolerationOperator = mostly(
  fc.constantFrom('Exists', 'Exists', 'Equal', 'Gt', 'Lt', ''),
  fc.constantFrom('In', 'equal'),
  90,
);
const toleration = fc.record({
  key: seldom(mostly(taintKey, fc.constant(''), 90), 85),
  operator: seldom(tolerationOperator, 85),
  value: seldom(taintValue, 60),
  effect: seldom(effect, 40),
  tolerationSeconds: seldom(fc.constantFrom(0, 300), 10),
});
const tolerations = fc.array(toleration, { maxLength: 4 });

const CLASS = 'kata';
const runtimeClass = fc.record({
  metadata: fc.constant({ name: CLASS }),
  scheduling: seldom(
    fc.record({
      nodeSelector: seldom(fc.dictionary(asked, word, { minKeys: 1, maxKeys: 2 }), 60),
      tolerations: seldom(tolerations, 60),
    }),
    90,
  ),
});

const podSpec = fc.record({
  nodeName: seldom(fc.constantFrom('n1', 'n1', 'n2', ''), 30),
  nodeSelector: seldom(orNull(fc.dictionary(asked, word, { maxKeys: 2 })), 25),
  affinity: seldom(orNull(affinity), 40),
  tolerations: seldom(orNull(tolerations), 60),
  os: seldom(orNull(fc.record({ name: fc.constantFrom('linux', 'linux', 'windows') })), 20),
  runtimeClassName: seldom(fc.constant(CLASS), 15),
});

const metadata = fc.record({ name: fc.constantFrom(...NODES), labels: seldom(orNull(labels), 95) });
const node = fc.record({
  metadata,
  spec: fc.record({
    unschedulable: seldom(fc.boolean(), 30),
    taints: seldom(orNull(fc.array(taint, { maxLength: 3 })), 40),
  }),
  status: seldom(
    fc.record({ nodeInfo: fc.record({ operatingSystem: fc.constantFrom('linux', 'windows') }) }),
    50,
  ),
});

const anything = fc.record({
  pod: fc.record({ spec: podSpec }),
  node,
  runtimeClass: seldom(runtimeClass, 95),
});
const oneRequirement = fc.record({
  pod: fc.record({ spec: fc.record({ affinity: loneRequirement }) }),
  node: fc.record({ metadata }),
});
const count = fc.integer({ min: -2, max: 2 }).map(String);
const countTaint = fc.record({ key: fc.constant('loss'), value: count, effect });
const countToleration = fc.record({
  key: fc.constant('loss'),
  operator: fc.constantFrom('Gt', 'Lt'),
  value: count,
});
const oneTaint = fc
  .record({
    nodeName: seldom(fc.constant('n1'), 20),
    on: mostly(taint, countTaint, 70),
    by: seldom(mostly(toleration, countToleration, 70), 80),
    alike: fc.constantFrom('not', 'in key', 'in value'),
    ofClass: seldom(fc.constant(true), 15),
  })
  .map(({ nodeName, on, by, alike, ofClass }) => {
    const key = alike === 'not' ? {} : { key: on.key };
    const value = alike === 'in value' ? { value: on.value } : {};
    const scheduling = by && { tolerations: [{ ...by, ...key, ...value }] };
    const spec = ofClass ? { nodeName, runtimeClassName: CLASS } : { nodeName, ...scheduling };
    return {
      pod: { spec },
      node: { metadata: { name: 'n1' }, spec: { taints: [on] } },
      runtimeClass: ofClass && { metadata: { name: CLASS }, scheduling },
    };
  });

/** Cases in which each predicate takes and refuses nodes often enough to be met; some have one thing to decide. */
export const nodeCases = fc
  .oneof(
    { weight: 4, arbitrary: anything },
    { weight: 3, arbitrary: oneRequirement },
    { weight: 3, arbitrary: oneTaint },
  )
  // As it is sent and kept: without what is undefined, and with `__proto__` as any other key.
  .map((value) => JSON.parse(JSON.stringify(value)) as NodeCase);

/** A value that most cases do without; what a failing one does not need is taken out of it. */
function seldom<T>(arbitrary: fc.Arbitrary<T>, percent: number): fc.Arbitrary<T | undefined> {
  const absent = { weight: 100 - percent, arbitrary: fc.constant(undefined) };
  return fc.oneof({ withCrossShrink: true }, absent, { weight: percent, arbitrary });
}

function mostly<A, B>(usual: fc.Arbitrary<A>, odd: fc.Arbitrary<B>, percent: number): fc.Arbitrary<A | B> {
  return fc.oneof({ weight: percent, arbitrary: usual }, { weight: 100 - percent, arbitrary: odd });
}

/** As Go writes what is empty. */
function orNull<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> {
  return fc.oneof({ weight: 24, arbitrary }, { weight: 1, arbitrary: fc.constant(null) });
}
