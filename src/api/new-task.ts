import { parseImageReference, pullPolicyOf } from '../domain/image-reference.ts';
import type { NodeSelectorRequirement, NodeSelectorTerm, Toleration } from '../domain/kubernetes.ts';
import { isLabelKey, isLabelValue, isWellFormed, isWellFormedField } from '../domain/node-matching.ts';
import { type PrewarmTask, TASK_API_VERSION, type TaskImage } from '../domain/prewarm-task.ts';
import { type FieldError, invalidFields } from './problem.ts';
import type { NewTask } from './schemas.ts';

/** Names that IPS gives to the tasks of workloads: one made by hand would be in their way. */
const RESERVED_NAME = /^ips-[0-9a-f]{12}$/;
const MAX_IMAGE_LENGTH = 512;

type Note = (pointer: string, detail: string | undefined) => void;

/** The custom resource that a body asks for. Throws a problem that names every field which the schema cannot judge. */
export function newTask(body: NewTask): PrewarmTask {
  const { namespace, name, images, nodeName, nodeSelector, nodeAffinity, tolerations, os, ...rest } = body;
  const errors: FieldError[] = [];
  const note: Note = (pointer, detail) => {
    if (detail) errors.push({ pointer: `#/${pointer}`, detail });
  };
  if (name && RESERVED_NAME.test(name))
    note('name', 'is of the form that is kept for the tasks of workloads');
  const taskImages = readImages(images, note);
  for (const [key, value] of Object.entries(nodeSelector ?? {}))
    note(`nodeSelector/${escapePointer(key)}`, selectorProblem(key, value));
  for (const [at, term] of (nodeAffinity?.nodeSelectorTerms ?? []).entries())
    noteTerm(term, `nodeAffinity/nodeSelectorTerms/${at}`, note);
  notePreferences(body.nodePreferences ?? {}, note);
  for (const [index, each] of (tolerations ?? []).entries())
    note(`tolerations/${index}`, tolerationProblem(each));
  if (errors.length > 0) throw invalidFields(errors);
  const where = { nodeName, nodeSelector, nodeAffinity, tolerations, os };
  return {
    apiVersion: TASK_API_VERSION,
    kind: 'PrewarmTask',
    metadata: { namespace, ...(name ? { name } : { generateName: 'task-' }) },
    // Without what is undefined, as it goes over the wire.
    spec: JSON.parse(
      JSON.stringify({ ...rest, images: taskImages, nodeRequirements: where }),
    ) as PrewarmTask['spec'],
  };
}

/** Two spellings of one image are one, pulled by the stricter policy. */
function readImages(images: NewTask['images'], note: Note): TaskImage[] {
  const read = new Map<string, TaskImage>();
  for (const [index, { image, pullPolicy }] of images.entries()) {
    const parsed = parseImageReference(image);
    if (!parsed.ok) {
      note(`images/${index}/image`, parsed.reason);
      continue;
    }
    const { canonical } = parsed.reference;
    if (canonical.length > MAX_IMAGE_LENGTH)
      note(`images/${index}/image`, `is longer than ${MAX_IMAGE_LENGTH} characters when written out`);
    const policy = pullPolicy ?? pullPolicyOf(parsed.reference);
    const stricter = policy === 'Always' || read.get(canonical)?.pullPolicy === 'Always';
    read.set(canonical, { image: canonical, pullPolicy: stricter ? 'Always' : 'IfNotPresent' });
  }
  return [...read.values()];
}

function noteTerm({ matchExpressions, matchFields }: NodeSelectorTerm, path: string, note: Note): void {
  for (const [index, each] of (matchExpressions ?? []).entries())
    note(`${path}/matchExpressions/${index}`, expressionProblem(each));
  for (const [index, each] of (matchFields ?? []).entries())
    note(`${path}/matchFields/${index}`, fieldProblem(each));
}

function notePreferences(preferences: NonNullable<NewTask['nodePreferences']>, note: Note): void {
  const { nodeAffinity = [], topologySpreadConstraints = [] } = preferences;
  for (const [at, { preference }] of nodeAffinity.entries())
    noteTerm(preference, `nodePreferences/nodeAffinity/${at}/preference`, note);
  for (const [at, { topologyKey }] of topologySpreadConstraints.entries())
    note(
      `nodePreferences/topologySpreadConstraints/${at}/topologyKey`,
      isLabelKey(topologyKey) ? undefined : 'is not the key of a label',
    );
}

function selectorProblem(key: string, value: string): string | undefined {
  if (!isLabelKey(key)) return 'is not the key of a label';
  return isLabelValue(value) ? undefined : 'is not the value of a label';
}

function expressionProblem(requirement: NodeSelectorRequirement): string | undefined {
  if (!isLabelKey(requirement.key)) return 'key is not the key of a label';
  if (isWellFormed(requirement)) return undefined;
  return 'values do not fit: In and NotIn take one or more label values, Exists and DoesNotExist none, Gt and Lt one whole number';
}

function fieldProblem(requirement: NodeSelectorRequirement): string | undefined {
  if (requirement.key !== 'metadata.name') return 'key must be metadata.name, the only field that nodes have';
  return isWellFormedField(requirement) ? undefined : 'values must be one name';
}

function tolerationProblem({ key, operator, value }: Toleration): string | undefined {
  if (key && !isLabelKey(key)) return 'key is not the key of a taint';
  if (!key && operator !== 'Exists') return 'without a key, operator must be Exists';
  if (operator === 'Exists') return value ? 'with operator Exists there is no value' : undefined;
  return isLabelValue(value ?? '') ? undefined : 'value is not the value of a taint';
}

function escapePointer(text: string): string {
  return text.replaceAll('~', '~0').replaceAll('/', '~1');
}
