/**
 * Reads the fields in use from a pod's spec that nobody checked: that of a custom resource may be anything. What cannot
 * be read is left out, and a warning tells.
 */

import type { Container, LocalObjectReference, PodSpec, Volume } from './kubernetes.ts';
import { readAffinity, readNodeSelector, readSpread, readToleration } from './pod-scheduling.ts';
import { type Fields, isSet, put, readList, readText, record } from './unchecked.ts';

/** Of a name of an object; the schema of PrewarmTask takes no longer one. */
const MAX_NAME_LENGTH = 253;
const SYSTEMS: readonly string[] = ['linux', 'windows'];

export function readPodSpec(value: unknown): { spec: PodSpec; warnings: string[] } {
  const warnings: string[] = [];
  const spec: PodSpec = {};
  const fields = record(value);
  if (!fields) {
    if (isSet(value)) warnings.push('the pod spec is not an object; ignored');
    return { spec, warnings };
  }
  put(spec, 'nodeName', readName(fields['nodeName'], 'nodeName', warnings));
  put(spec, 'runtimeClassName', readName(fields['runtimeClassName'], 'runtimeClassName', warnings));
  // `serviceAccount` is the older name of the field (API reference of PodSpec); where both are set, the newer counts.
  const account = fields['serviceAccountName'] || fields['serviceAccount'];
  put(spec, 'serviceAccountName', readName(account, 'serviceAccountName', warnings));
  put(spec, 'nodeSelector', readNodeSelector(fields['nodeSelector'], warnings));
  put(spec, 'affinity', readAffinity(fields['affinity'], warnings));
  put(spec, 'tolerations', readList(fields['tolerations'], 'tolerations', warnings, readToleration));
  for (const name of ['containers', 'initContainers'] as const) {
    put(spec, name, readList(fields[name], name, warnings, readContainer));
  }
  const volumes = readList(fields['volumes'], 'volumes', warnings, readVolume);
  put(
    spec,
    'volumes',
    volumes?.filter(({ image }) => image),
  );
  const secrets = readList(fields['imagePullSecrets'], 'imagePullSecrets', warnings, readSecret);
  put(spec, 'imagePullSecrets', secrets);
  put(spec, 'os', readOs(fields['os'], warnings));
  if (fields['hostNetwork'] === true) spec.hostNetwork = true;
  const spread = fields['topologySpreadConstraints'];
  put(spec, 'topologySpreadConstraints', readList(spread, 'topologySpreadConstraints', warnings, readSpread));
  return { spec, warnings };
}

function readName(value: unknown, name: string, warnings: string[]): string | undefined {
  if (!isSet(value)) return undefined;
  if (typeof value === 'string' && value.length <= MAX_NAME_LENGTH) return value;
  warnings.push(`${name} is not a name of at most ${MAX_NAME_LENGTH} characters; ignored`);
  return undefined;
}

function readContainer(fields: Fields): Container | undefined {
  const { image } = fields;
  if (isSet(image) && typeof image !== 'string') return undefined;
  const container: Container = { name: readText(fields['name']) ?? '' };
  put(container, 'image', readText(image));
  put(container, 'imagePullPolicy', readText(fields['imagePullPolicy']));
  return container;
}

/** All volumes but those of images come back without one. */
function readVolume(fields: Fields): Volume | undefined {
  const name = readText(fields['name']) ?? '';
  if (!isSet(fields['image'])) return { name };
  const source = record(fields['image']);
  if (!source || (isSet(source['reference']) && typeof source['reference'] !== 'string')) return undefined;
  const image: NonNullable<Volume['image']> = {};
  put(image, 'reference', readText(source['reference']));
  put(image, 'pullPolicy', readText(source['pullPolicy']));
  return { name, image };
}

function readSecret({ name }: Fields): LocalObjectReference | undefined {
  if (!isSet(name)) return {};
  return typeof name === 'string' && name.length <= MAX_NAME_LENGTH ? { name } : undefined;
}

function readOs(value: unknown, warnings: string[]): { name: string } | undefined {
  if (!isSet(value)) return undefined;
  const name = record(value)?.['name'];
  if (typeof name === 'string' && SYSTEMS.includes(name)) return { name };
  if (!record(value) || isSet(name)) warnings.push('os is neither linux nor windows; ignored');
  return undefined;
}
