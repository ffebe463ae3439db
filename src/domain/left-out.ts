/** Why nodes are left out, in few words for many nodes. */

const NO_ROOM = 'no room: ';

export type ReasonGroup = { reason: string; nodes: string[] };

export function noRoom(figures: string): string {
  return NO_ROOM + figures;
}

/**
 * Nodes by their reason, the most frequent first. The figures of `no room` differ from node to node: such nodes are one
 * group, which tells the figures of its first.
 */
export function groupByReason(reasons: Iterable<[node: string, reason: string]>): ReasonGroup[] {
  const groups = new Map<string, [node: string, reason: string][]>();
  for (const [node, reason] of reasons) {
    const kind = reason.startsWith(NO_ROOM) ? NO_ROOM : reason;
    const group = groups.get(kind);
    if (group) group.push([node, reason]);
    else groups.set(kind, [[node, reason]]);
  }
  return [...groups.values()]
    .map((group) => ({ reason: commonReason(group), nodes: group.map(([node]) => node) }))
    .sort((a, b) => b.nodes.length - a.nodes.length);
}

function commonReason(group: [node: string, reason: string][]): string {
  const [[first, reason] = ['', '']] = group;
  if (group.every(([, each]) => each === reason)) return reason;
  return reason.replace(NO_ROOM, `no room, such as on ${first}: `);
}
