import { type Document, LineCounter, parseAllDocuments, type ScalarTag, type Tags } from 'yaml';
import { isObject, type Raw } from './plan-input.ts';
import { type Path, pathText } from './shape.ts';

/** Where an object was found: for who has to mend it. */
export type Place = {
  file: string;
  document: number;
  path: Path;
  lineOf: (path: Path) => number | undefined;
};

export type InputObject = { object: Raw; place: Place };

export type Problem = { file: string; document?: number; line?: number; message: string };

export type Documents = { objects: InputObject[]; problems: Problem[] };

/** The objects of a text of YAML or JSON: of all its documents, and of the lists among them. */
export function readDocuments(file: string, text: string): Documents {
  const found: Documents = { objects: [], problems: [] };
  for (const each of documentsOf(text)) {
    if (each.error) found.problems.push({ file, document: each.number, ...each.error });
    else collect(found, each.value, { file, document: each.number, path: [], lineOf: each.lineOf });
  }
  return found;
}

/** A problem with a field of an object, or with all of it. */
export function problemAt(place: Place, path: Path, message: string): Problem {
  const whole = [...place.path, ...path];
  const line = place.lineOf(whole);
  const where = pathText(whole);
  return {
    ...{ file: place.file, document: place.document },
    ...(line === undefined ? {} : { line }),
    message: where ? `${where} ${message}` : message,
  };
}

export function problemText({ file, document, line, message }: Problem): string {
  const parts = [
    file,
    document === undefined ? '' : `document ${document}`,
    line === undefined ? '' : `line ${line}`,
  ];
  return `${parts.filter(Boolean).join(', ')}: ${message}`;
}

type Parsed = {
  number: number;
  value: unknown;
  error?: { line?: number; message: string };
  lineOf: Place['lineOf'];
};

function documentsOf(text: string): Parsed[] {
  const unmarked = text.replace(/^\uFEFF/, '');
  // Many times faster, for what kubectl prints of large clusters. What is none may be YAML, which may begin so as well.
  const json = /^\s*[{[]/.test(unmarked) ? jsonOf(unmarked) : undefined;
  if (json) return json.map((value, index) => ({ number: index + 1, value, lineOf: () => undefined }));
  const lines = new LineCounter();
  const documents = parseAllDocuments(unmarked, { ...YAML_OF_KUBECTL, lineCounter: lines });
  return [...documents].map((document, index) => parsed(document as Document, index + 1, lines));
}

/** One document, or several as `jq` prints them: each begins at the start of a line. */
function jsonOf(text: string): unknown[] | undefined {
  for (const parts of [[text], text.split(/\n(?=\{)/)]) {
    try {
      return parts.map((part) => JSON.parse(part));
    } catch {}
  }
  return undefined;
}

function parsed(document: Document, number: number, lines: LineCounter): Parsed {
  const lineOf = (path: Path) => lineAt(document, path, lines);
  const [error] = document.errors;
  if (error) {
    const line = error.linePos?.[0].line;
    const [message = ''] = error.message.split(/ at line \d+/, 1);
    return {
      number,
      value: undefined,
      error: { ...(line ? { line } : {}), message: `YAML: ${message}` },
      lineOf,
    };
  }
  try {
    return { number, value: document.toJS(), lineOf };
  } catch (cause) {
    const message = `YAML: ${cause instanceof Error ? cause.message : String(cause)}`;
    return { number, value: undefined, error: { message }, lineOf };
  }
}

/** Of the field itself, or of what it is missing from. */
function lineAt(document: Document, path: Path, lines: LineCounter): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const found = document.getIn(path.slice(0, length), true) as
      | { range?: [number, number, number] }
      | undefined;
    if (found?.range) return lines.linePos(found.range[0]).line;
  }
  return undefined;
}

/** kubectl reads YAML 1.1, where `yes` is true; neither dates nor the sixty-based numbers of it. */
const YAML_OF_KUBECTL = {
  version: '1.1',
  customTags: (tags: Tags) =>
    tags.filter((tag) => {
      if (typeof tag === 'string') return true;
      return !tag.tag.endsWith(':timestamp') && (tag as ScalarTag).format !== 'TIME';
    }),
} as const;

function collect(found: Documents, value: unknown, place: Place): void {
  // An empty document, or only comments.
  if (value === null || value === undefined) return;
  if (Array.isArray(value) && place.path.length === 0) {
    collectAll(found, value, {}, place);
    return;
  }
  if (!isObject(value)) {
    found.problems.push(problemAt(place, [], 'is not an object of Kubernetes'));
    return;
  }
  const kind = value['kind'];
  if (typeof kind !== 'string' || kind === '') {
    found.problems.push(problemAt(place, [], 'there is no kind: not an object of Kubernetes'));
    return;
  }
  // Kubernetes has no list within a list.
  if (!(kind.endsWith('List') && Object.hasOwn(value, 'items')) || place.path.length > 0) {
    found.objects.push({ object: value, place });
    return;
  }
  const items = value['items'] ?? [];
  if (!Array.isArray(items)) {
    found.problems.push(problemAt(place, ['items'], 'must be a list'));
    return;
  }
  // The items of a DeploymentList need not say what they are.
  const meant =
    kind === 'List' ? {} : { apiVersion: value['apiVersion'], kind: kind.slice(0, -'List'.length) };
  collectAll(found, items, meant, { ...place, path: ['items'] });
}

function collectAll(found: Documents, items: unknown[], meant: Raw, place: Place): void {
  for (const [index, item] of items.entries())
    collect(found, isObject(item) ? { ...meant, ...item } : (item ?? 'null'), {
      ...place,
      path: [...place.path, index],
    });
}
