/** Remembers answers for a short time, and asks once where many ask the same at once. Failures are not remembered. */
export function createRecent<T>(options: { ttlMs: number; most: number; nowMs: () => number }) {
  const answers = new Map<string, { answer: Promise<T>; untilMs: number }>();

  return function recent(key: string, ask: () => Promise<T>): Promise<T> {
    const now = options.nowMs();
    const known = answers.get(key);
    if (known && known.untilMs > now) return known.answer;
    answers.delete(key);
    // A map keeps the order of insertion: the first is the oldest.
    const [oldest] = answers.keys();
    if (oldest !== undefined && answers.size >= options.most) answers.delete(oldest);
    const entry = { answer: ask(), untilMs: now + options.ttlMs };
    answers.set(key, entry);
    entry.answer.catch(() => {
      if (answers.get(key) === entry) answers.delete(key);
    });
    return entry.answer;
  };
}
