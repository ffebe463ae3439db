import { createImageSizes } from '../domain/image-sizes.ts';
import type { KubernetesNode, RuntimeClass } from '../domain/kubernetes.ts';
import type { Workload } from '../domain/workload.ts';
import type { WorkloadTypes } from '../domain/workload-types.ts';
import {
  isObject,
  type Raw,
  type Read,
  readNode,
  readPodSpec,
  readRuntimeClass,
  readWorkload,
  workloadKinds,
  workloadTypeOf,
} from './plan-input.ts';
import type { PlanSettings } from './plan-options.ts';
import { targetsOf } from './plan-workload.ts';
import { type Path, pathText } from './shape.ts';

/** Longer ones are not kept in memory. Nodes take some 12 kB each, with their lists of images. */
export const MAX_LINE_BYTES = 128 * 1024 * 1024;

const NEWLINE = 0x0a;
const NAMESPACE = 'default';

/** The lines of a stream of bytes, the last one also where no line end follows; undefined stands for one that is too long. */
export async function* linesOf(
  bytes: AsyncIterable<Uint8Array>,
  maxBytes = MAX_LINE_BYTES,
): AsyncGenerator<string | undefined> {
  let parts: Uint8Array[] = [];
  let length = 0;
  const keep = (part: Uint8Array) => {
    length += part.length;
    if (length <= maxBytes) parts.push(part);
    else parts = [];
  };
  const take = () => {
    const line = length <= maxBytes ? Buffer.concat(parts).toString('utf8') : undefined;
    parts = [];
    length = 0;
    return line;
  };
  for await (const chunk of bytes) {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      keep(chunk.subarray(from, at));
      yield take();
      from = at + 1;
    }
    if (from < chunk.length) keep(chunk.subarray(from));
  }
  if (length > 0) yield take();
}

/** The answer to one line; undefined where the line is empty. Whatever is wrong with it is an answer too. */
export function answerLine(line: string | undefined, settings: PlanSettings): string | undefined {
  if (line === undefined) return failure(null, `the line is longer than ${MAX_LINE_BYTES} bytes`);
  const text = line.replace(/^\uFEFF/, '').trim();
  if (text === '') return undefined;
  let id: unknown = null;
  try {
    const input: unknown = JSON.parse(text);
    if (!isObject(input)) return failure(null, 'the line is not a JSON object');
    id = readId(input);
    return JSON.stringify({ id, ...answer(input, settings) });
  } catch (error) {
    return failure(id, error instanceof Error ? error.message : String(error));
  }
}

/** One that is nested so deep that it cannot be written again would end the stream. */
function readId(input: Raw): unknown {
  const id = Object.hasOwn(input, 'id') ? input['id'] : null;
  if (typeof id === 'object') JSON.stringify(id);
  return id;
}

function failure(id: unknown, error: string): string {
  return JSON.stringify({ id, error });
}

function answer(input: Raw, settings: PlanSettings): object {
  const workload = readSubject(input, settings.types);
  const nodes = readEach(input, 'nodes', readNode);
  const names = new Set<string>();
  for (const [index, { metadata }] of nodes.entries()) {
    const name = metadata.name ?? '';
    if (names.has(name)) throw new Error(`nodes[${index}].metadata.name: there are two nodes ${name}`);
    names.add(name);
  }
  const classes = given(input, 'runtimeClasses') ? readEach(input, 'runtimeClasses', readRuntimeClass) : [];
  if (given(input, 'runtimeClass'))
    classes.push(must(readRuntimeClass(input['runtimeClass']), ['runtimeClass']));
  const targets = targetsOf(workload, {
    ...{ nodes, settings, runtimeClasses: byName(classes), sizes: createImageSizes(nodes) },
  });
  return {
    images: targets.plan.images.map(({ image }) => image),
    nodes: targets.nodes.map(({ metadata }: KubernetesNode) => metadata.name),
    skipped: targets.skipped,
    warnings: targets.warnings,
  };
}

function readSubject(input: Raw, types: WorkloadTypes): Workload {
  const [hasWorkload, hasPodSpec] = [given(input, 'workload'), given(input, 'podSpec')];
  if (hasWorkload === hasPodSpec)
    throw new Error(
      hasWorkload
        ? 'workload and podSpec are both there: only one may be'
        : 'neither workload nor podSpec is there',
    );
  if (hasPodSpec) return must(readPodSpec(types, input['podSpec']), ['podSpec']);
  const object = input['workload'];
  if (!isObject(object)) throw new Error('workload must be an object');
  const type = workloadTypeOf(types, object);
  if (type) return must(readWorkload(types, type, object, NAMESPACE), ['workload']);
  const what = [object['apiVersion'], object['kind']].filter((each) => typeof each === 'string').join(' ');
  throw new Error(
    `workload: ${what || 'an object without a kind'} is none that IPS knows; it knows ${workloadKinds(types)}`,
  );
}

/** JSON's null is nothing, as it is to Kubernetes. */
function given(input: Raw, field: string): boolean {
  return Object.hasOwn(input, field) && input[field] !== null;
}

function readEach<T>(input: Raw, field: string, read: (value: unknown) => Read<T>): T[] {
  const list = given(input, field) ? input[field] : undefined;
  if (!Array.isArray(list))
    throw new Error(`${field} ${list === undefined ? 'is missing' : 'must be a list'}`);
  return list.map((each: unknown, index) => must(read(each), [field, index]));
}

function must<T>(read: Read<T>, path: Path): T {
  if (read.ok) return read.value;
  throw new Error(`${pathText([...path, ...read.misfit.path])} ${read.misfit.problem}`);
}

function byName(classes: RuntimeClass[]): Map<string, RuntimeClass> {
  return new Map(classes.map((each) => [each.metadata.name ?? '', each]));
}

/** Answers each line as it comes; `write` says when the reader is ready for more. */
export async function runStream(
  input: AsyncIterable<Uint8Array>,
  write: (line: string) => Promise<void> | undefined,
  settings: PlanSettings,
): Promise<void> {
  for await (const line of linesOf(input)) {
    const text = answerLine(line, settings);
    if (text !== undefined) await write(`${text}\n`);
  }
}
