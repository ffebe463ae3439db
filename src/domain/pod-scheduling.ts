/** Reads what a pod's spec says of where it may run, and where rather, from a spec that nobody checked. */

import type {
  LabelSelector,
  NodeAffinity,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  PreferredSchedulingTerm,
  Toleration,
  TopologySpreadConstraint,
} from './kubernetes.ts';
import {
  type Fields,
  isSet,
  MAX_ENTRIES,
  put,
  type Read,
  readList,
  readStrings,
  readText,
  readTexts,
  record,
} from './unchecked.ts';

export function readNodeSelector(value: unknown, warnings: string[]): Record<string, string> | undefined {
  const fields = record(value);
  if (!fields) {
    if (isSet(value)) warnings.push('nodeSelector is not an object; ignored');
    return undefined;
  }
  const names = Object.keys(fields);
  const read = names.slice(0, MAX_ENTRIES).flatMap((name): [string, string][] => {
    const text = fields[name];
    return typeof text === 'string' ? [[name, text]] : [];
  });
  const wrong = Math.min(names.length, MAX_ENTRIES) - read.length;
  if (wrong > 0) warnings.push(`nodeSelector: ${wrong} of ${names.length} values are not text; ignored`);
  if (names.length > MAX_ENTRIES) {
    warnings.push(`nodeSelector: the first ${MAX_ENTRIES} of ${names.length} count; the others are ignored`);
  }
  return Object.fromEntries(read);
}

export function readAffinity(value: unknown, warnings: string[]): { nodeAffinity: NodeAffinity } | undefined {
  const fields = record(record(value)?.['nodeAffinity']);
  if (!fields) return undefined;
  const nodeAffinity: NodeAffinity = {};
  const required = fields['requiredDuringSchedulingIgnoredDuringExecution'];
  const selector = record(required);
  if (selector) {
    const terms = readList(selector['nodeSelectorTerms'], 'nodeSelectorTerms', warnings, termReader()) ?? [];
    nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution = { nodeSelectorTerms: terms };
  } else if (isSet(required)) warnings.push('the required node affinity is not an object; ignored');
  const preferred = fields['preferredDuringSchedulingIgnoredDuringExecution'];
  const wishes = readList(preferred, 'preferred node affinity', warnings, preferenceReader(termReader()));
  put(nodeAffinity, 'preferredDuringSchedulingIgnoredDuringExecution', wishes);
  return Object.keys(nodeAffinity).length > 0 ? { nodeAffinity } : undefined;
}

/**
 * Of all terms together as many requirements count as of any list: each is put to all nodes, and a custom resource may
 * hold half a million of three bytes. Terms past that are left out.
 */
function termReader(): Read<NodeSelectorTerm> {
  let left = MAX_ENTRIES;
  return (fields) => {
    for (const name of TERM_FIELDS) left -= Array.isArray(fields[name]) ? fields[name].length : 0;
    return left < 0 ? undefined : readTerm(fields);
  };
}

const TERM_FIELDS = ['matchExpressions', 'matchFields'] as const;

/** A term of which a part cannot be read is left out as a whole: without that part it would match more nodes. */
function readTerm(fields: Fields): NodeSelectorTerm | undefined {
  const term: NodeSelectorTerm = {};
  for (const name of TERM_FIELDS) {
    const problems: string[] = [];
    put(term, name, readList(fields[name], name, problems, readRequirement));
    if (problems.length > 0) return undefined;
  }
  return term;
}

function readRequirement(fields: Fields): NodeSelectorRequirement | undefined {
  const { key = '', operator = '', values } = fields;
  if (typeof key !== 'string' || typeof operator !== 'string') return undefined;
  if (!isSet(values)) return { key, operator };
  const texts = readTexts(values);
  return texts && { key, operator, values: texts };
}

function preferenceReader(readEach: Read<NodeSelectorTerm>): Read<PreferredSchedulingTerm> {
  return ({ weight, preference }) => {
    const term = record(preference);
    const read = term && readEach(term);
    return read && typeof weight === 'number' ? { weight, preference: read } : undefined;
  };
}

/** Whole or not at all: without a key, or an effect, it would tolerate more. */
export function readToleration(fields: Fields): Toleration | undefined {
  const toleration: Toleration = {};
  for (const name of ['key', 'operator', 'value', 'effect'] as const) {
    const value = fields[name];
    if (typeof value === 'string') toleration[name] = value;
    else if (isSet(value)) return undefined;
  }
  // Which taints it tolerates does not depend on for how long.
  const seconds = fields['tolerationSeconds'];
  if (Number.isSafeInteger(seconds)) toleration.tolerationSeconds = seconds as number;
  return toleration;
}

export function readSpread(fields: Fields): TopologySpreadConstraint | undefined {
  const { maxSkew, topologyKey, whenUnsatisfiable } = fields;
  if (typeof maxSkew !== 'number' || typeof topologyKey !== 'string') return undefined;
  if (typeof whenUnsatisfiable !== 'string') return undefined;
  const constraint: TopologySpreadConstraint = { maxSkew, topologyKey, whenUnsatisfiable };
  if (typeof fields['minDomains'] === 'number') constraint.minDomains = fields['minDomains'];
  put(constraint, 'nodeAffinityPolicy', readText(fields['nodeAffinityPolicy']));
  put(constraint, 'nodeTaintsPolicy', readText(fields['nodeTaintsPolicy']));
  put(constraint, 'matchLabelKeys', readTexts(fields['matchLabelKeys']));
  put(constraint, 'labelSelector', readLabelSelector(fields['labelSelector']));
  return constraint;
}

function readLabelSelector(value: unknown): LabelSelector | undefined {
  const fields = record(value);
  if (!fields) return undefined;
  const selector: LabelSelector = {};
  put(selector, 'matchLabels', readStrings(fields['matchLabels']));
  put(selector, 'matchExpressions', readList(fields['matchExpressions'], '', [], readRequirement));
  return selector;
}
