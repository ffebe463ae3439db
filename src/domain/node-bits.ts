/** A set of nodes: a bit for each, by its place. Sets of the same nodes are of the same length. */
export type NodeBits = Uint32Array;

export function noNodes(count: number): NodeBits {
  return new Uint32Array(Math.ceil(count / 32));
}

export function allNodes(count: number): NodeBits {
  return noNodes(count).fill(-1);
}

export function add(set: NodeBits, place: number): void {
  set[place >> 5] = (set[place >> 5] ?? 0) | (1 << (place & 31));
}

/** To a set that may be too short for the place, or not there yet: gives the one to go on with. */
export function addGrowing(set: NodeBits | undefined, place: number): NodeBits {
  const words = (place >> 5) + 1;
  let grown = set ?? new Uint32Array(words);
  if (grown.length < words) {
    grown = new Uint32Array(Math.max(words, grown.length * 2));
    grown.set(set ?? []);
  }
  add(grown, place);
  return grown;
}

export function remove(set: NodeBits, place: number): void {
  // Beyond the end this writes nothing.
  set[place >> 5] = (set[place >> 5] ?? 0) & ~(1 << (place & 31));
}

export function has(set: NodeBits, place: number): boolean {
  return ((set[place >> 5] ?? 0) & (1 << (place & 31))) !== 0;
}

export function keep(set: NodeBits, other: NodeBits): void {
  for (let word = 0; word < set.length; word += 1) set[word] = (set[word] ?? 0) & (other[word] ?? 0);
}

export function join(set: NodeBits, other: NodeBits): void {
  for (let word = 0; word < set.length; word += 1) set[word] = (set[word] ?? 0) | (other[word] ?? 0);
}

/** Those of the set, in the order of their places; the bits of the last word that stand for nobody count for nothing. */
export function select<T>(all: readonly T[], set: NodeBits): T[] {
  const found: T[] = [];
  for (let word = 0; word < set.length; word += 1) {
    for (let left = set[word] ?? 0; left !== 0; left &= left - 1) {
      const each = all[(word << 5) + 31 - Math.clz32(left & -left)];
      if (each !== undefined) found.push(each);
    }
  }
  return found;
}
