import { readFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { createImageSizes } from '../domain/image-sizes.ts';
import type { KubernetesNode, KubernetesObject, RuntimeClass } from '../domain/kubernetes.ts';
import type { Workload } from '../domain/workload.ts';
import type { ClusterView } from './plan-cluster.ts';
import { type InputObject, type Problem, problemAt, problemText, readDocuments } from './plan-documents.ts';
import {
  hasTemplate,
  type Read,
  readNode,
  readRuntimeClass,
  readWorkload,
  workloadKinds,
  workloadTypeOf,
} from './plan-input.ts';
import type { Format, PlanOptions } from './plan-options.ts';
import { planText } from './plan-text.ts';
import { type PlannedWorkload, planWorkload } from './plan-workload.ts';
import { type Path, pathText } from './shape.ts';

export type PlanIo = {
  readInput: () => Promise<string>;
  write: (text: string) => void;
  /** For people: what went wrong, and what was passed over. */
  tell: (line: string) => void;
  userAgent: string;
};

/** What is in the files, sorted by what it is for. */
type Gathered = {
  workloads: Workload[];
  nodes: Map<string, KubernetesNode>;
  runtimeClasses: Map<string, RuntimeClass>;
  problems: Problem[];
  /** Objects that are no matter of a plan, such as Services: told, and no mistake. */
  passedOver: Problem[];
};

type Use = 'workloads' | 'nodes';

/** Prints the plan; gives the exit code. What could be planned is printed, whatever is wrong with the rest. */
export async function runPlan(options: PlanOptions, io: PlanIo): Promise<number> {
  const found: Gathered = {
    ...{ workloads: [], problems: [], passedOver: [] },
    ...{ nodes: new Map(), runtimeClasses: new Map() },
  };
  for (const file of options.files) await gather(found, file, 'workloads', options, io);
  for (const file of options.nodeFiles) await gather(found, file, 'nodes', options, io);
  const failed = options.cluster && (await askCluster(found, options.cluster, io));
  if (failed) {
    tellAll(found, io);
    io.tell(failed.message);
    return failed.code;
  }
  const problems = [...found.problems, ...missing(found, options)];
  const planned = planAll(found, options, problems);
  if (planned.length > 0 || options.format === 'json' || options.format === 'yaml')
    io.write(formatted(planned, problems, options.format));
  tellAll({ ...found, problems }, io);
  return problems.length > 0 ? 2 : 0;
}

function tellAll({ passedOver, problems }: Pick<Gathered, 'passedOver' | 'problems'>, io: PlanIo): void {
  for (const each of [...passedOver, ...problems]) io.tell(problemText(each));
}

async function gather(
  found: Gathered,
  file: string,
  use: Use,
  options: PlanOptions,
  io: PlanIo,
): Promise<void> {
  const name = fileName(file);
  let text: string;
  try {
    text = file === '-' ? await io.readInput() : await readFile(file, 'utf8');
  } catch (error) {
    found.problems.push({ file: name, message: `cannot be read: ${reasonOf(error)}` });
    return;
  }
  const { objects, problems } = readDocuments(name, text);
  found.problems.push(...problems);
  for (const each of objects) sortIn(found, each, use, options);
}

function fileName(file: string): string {
  return file === '-' ? 'standard input' : file;
}

function sortIn(found: Gathered, { object, place }: InputObject, use: Use, options: PlanOptions): void {
  const { types } = options.settings;
  const { apiVersion, kind } = object;
  const fail = (problem: string, path: Path = []) => found.problems.push(problemAt(place, path, problem));
  const keep = <T>(read: Read<T>, put: (value: T) => boolean): void => {
    if (!read.ok) fail(read.misfit.problem, read.misfit.path);
    else if (!put(read.value)) fail(`${nameOf(object)} is there twice: the first one counts`);
  };
  const type = use === 'workloads' ? workloadTypeOf(types, object) : undefined;
  if (kind === 'Node' && (apiVersion ?? 'v1') === 'v1') {
    keep(readNode(object), (node) => putOnce(found.nodes, node));
  } else if (kind === 'RuntimeClass') {
    keep(readRuntimeClass(object), (each) => putOnce(found.runtimeClasses, each));
  } else if (type) {
    keep(
      readWorkload(types, type, object, options.namespace),
      (workload) => found.workloads.push(workload) > 0,
    );
  } else if (typeof apiVersion !== 'string' || apiVersion === '') {
    fail(`${nameOf(object)}: apiVersion is missing`);
  } else {
    const what = use === 'nodes' ? 'neither Node nor RuntimeClass' : noWorkload(object);
    found.passedOver.push(problemAt(place, [], `${nameOf(object)} of ${apiVersion} is ${what}: passed over`));
  }
}

function noWorkload(object: InputObject['object']): string {
  return hasTemplate(object) ? 'no workload that IPS knows; CUSTOM_WORKLOADS may name it' : 'no workload';
}

function nameOf(object: InputObject['object']): string {
  const metadata = (object['metadata'] ?? {}) as { name?: unknown; namespace?: unknown };
  const name = [metadata.namespace, metadata.name].filter((each) => typeof each === 'string').join('/');
  return `${object['kind']}${name ? ` ${name}` : ''}`;
}

function putOnce<T extends { metadata: { name?: string } }>(map: Map<string, T>, object: T): boolean {
  const { name = '' } = object.metadata;
  if (map.has(name)) return false;
  map.set(name, object);
  return true;
}

/** Undefined, or why the cluster could not be asked, and the exit code for that. */
async function askCluster(
  found: Gathered,
  cluster: NonNullable<PlanOptions['cluster']>,
  io: PlanIo,
): Promise<{ code: number; message: string } | undefined> {
  // Only here: the client of Kubernetes takes longer to load than a plan takes.
  const { openCluster } = await import('./plan-cluster.ts');
  let view: ReturnType<typeof openCluster>;
  try {
    view = openCluster({ ...cluster, userAgent: io.userAgent });
  } catch (error) {
    return { code: 2, message: `the kubeconfig cannot be used: ${reasonOf(error)}` };
  }
  try {
    await askNodes(found, view);
    return undefined;
  } catch (error) {
    return { code: 1, message: `the cluster could not be asked: ${reasonOf(error)}` };
  }
}

async function askNodes(found: Gathered, view: ClusterView): Promise<void> {
  for (const object of await view.nodes()) {
    const node = must(readNode(object), object);
    found.nodes.set(node.metadata.name ?? '', node);
  }
  const wanted = new Set(found.workloads.flatMap(({ template }) => template.spec.runtimeClassName ?? []));
  for (const name of wanted) {
    if (found.runtimeClasses.has(name)) continue;
    const object = await view.runtimeClass(name);
    if (object) found.runtimeClasses.set(name, must(readRuntimeClass(object), object));
  }
}

function must<T>(read: Read<T>, { metadata }: KubernetesObject): T {
  if (read.ok) return read.value;
  throw new Error(`${metadata.name}: ${pathText(read.misfit.path)} ${read.misfit.problem}`);
}

/** What no plan can do without; not where the reason has been told already. */
function missing(found: Gathered, { files, nodeFiles, cluster, settings }: PlanOptions): Problem[] {
  const problems: Problem[] = [];
  const [workloadsIn, nodesIn] = [files.map(fileName), nodeFiles.map(fileName)];
  const isTold = (names: string[]) => found.problems.some(({ file }) => names.includes(file));
  if (found.workloads.length === 0 && !isTold(workloadsIn))
    problems.push({
      file: workloadsIn.join(', '),
      message: `there is no workload in it (${workloadKinds(settings.types)})`,
    });
  if (found.nodes.size === 0 && !isTold(nodesIn))
    problems.push({
      file: cluster ? 'the cluster' : (nodesIn.length > 0 ? nodesIn : workloadsIn).join(', '),
      message: 'there is no Node in it: give nodes by --nodes FILE or --context NAME',
    });
  return problems;
}

function planAll(found: Gathered, { settings }: PlanOptions, problems: Problem[]): PlannedWorkload[] {
  const { runtimeClasses } = found;
  const nodes = [...found.nodes.values()];
  if (nodes.length === 0) return [];
  const sizes = createImageSizes(nodes);
  return found.workloads.flatMap((workload) => {
    try {
      return planWorkload(workload, { nodes, runtimeClasses, sizes, settings });
    } catch (error) {
      // One workload must not hide the others.
      const { kind, metadata } = workload;
      problems.push({ file: `${kind} ${metadata.namespace}/${metadata.name}`, message: reasonOf(error) });
      return [];
    }
  });
}

function formatted(planned: PlannedWorkload[], problems: Problem[], format: Format): string {
  if (format === 'table' || format === 'wide') return planText(planned, format === 'wide');
  const all = { workloads: planned, problems };
  if (format === 'json') return `${JSON.stringify(all, undefined, 2)}\n`;
  return stringify(all, { aliasDuplicateObjects: false, lineWidth: 0 });
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
