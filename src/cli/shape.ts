/**
 * Checks what a user wrote against the fields that are read of it, so that a mistake is told where it stands. What is
 * not named here is not looked at. Not a schema library: loading one takes longer than a whole plan.
 */

export type Shape =
  | 'string'
  | 'boolean'
  | 'number'
  /** A resource quantity: `500m`, or a number. */
  | 'quantity'
  | { list: Shape }
  | { map: Shape }
  | { fields: Record<string, Shape>; required?: readonly string[] };

export type Path = (string | number)[];
export type Misfit = { path: Path; problem: string };

/**
 * The first place where a value is not of its shape. Where a field is null it is removed from the value: null and
 * absent are the same to Kubernetes.
 */
export function settle(value: unknown, shape: Shape): Misfit | undefined {
  if (typeof shape === 'string') return settleScalar(value, shape);
  if ('list' in shape) return settleList(value, shape.list);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return mustBe('an object', value);
  const object = value as Record<string, unknown>;
  return 'map' in shape ? settleMap(object, shape.map) : settleFields(object, shape);
}

/** `spec.containers[0].image`, as users of Kubernetes know it. */
export function pathText(path: Path): string {
  const parts = path.map((part) => {
    if (typeof part === 'number') return `[${part}]`;
    return /^[A-Za-z_]\w*$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`;
  });
  return parts.join('').replace(/^\./, '');
}

function settleScalar(value: unknown, shape: 'string' | 'boolean' | 'number' | 'quantity') {
  const type = typeof value;
  if (shape === 'quantity')
    return type === 'string' || type === 'number' ? undefined : mustBe('a quantity', value);
  if (type === shape) return undefined;
  const quoted = shape === 'string' && (type === 'number' || type === 'boolean');
  return mustBe(`a ${shape}`, value, quoted ? ': put it in quotes' : '');
}

function settleList(value: unknown, shape: Shape): Misfit | undefined {
  if (!Array.isArray(value)) return mustBe('a list', value);
  for (const [index, each] of value.entries()) {
    const found = settle(each, shape);
    if (found) return under(index, found);
  }
  return undefined;
}

function settleMap(object: Record<string, unknown>, shape: Shape): Misfit | undefined {
  for (const key of Object.keys(object)) {
    // To Kubernetes an empty string. Defined, not set: the key may be __proto__.
    if (object[key] === null) Object.defineProperty(object, key, { value: '' });
    const found = settle(object[key], shape);
    if (found) return under(key, found);
  }
  return undefined;
}

function settleFields(
  object: Record<string, unknown>,
  { fields, required = [] }: { fields: Record<string, Shape>; required?: readonly string[] },
): Misfit | undefined {
  // Not by Object.entries: this runs for every node of every line.
  for (const name in fields) {
    const value = object[name];
    const shape = fields[name];
    if (value === undefined || !shape) continue;
    if (value === null) {
      delete object[name];
      continue;
    }
    const found = settle(value, shape);
    if (found) return under(name, found);
  }
  const missing = required.find((name) => !Object.hasOwn(object, name) || object[name] === '');
  return missing === undefined ? undefined : { path: [missing], problem: 'is missing' };
}

function mustBe(wanted: string, value: unknown, advice = ''): Misfit {
  return { path: [], problem: `must be ${wanted}, not ${nameOf(value)}${advice}` };
}

function nameOf(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function under(part: string | number, { path, problem }: Misfit): Misfit {
  return { path: [part, ...path], problem };
}
