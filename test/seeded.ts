/** Random numbers that are the same for the same seed. */
export type Random = {
  /** From 0 up to, not including, `most`. */
  below(most: number): number;
  integer(least: number, most: number): number;
  /** One of them; a list must not be empty. */
  pick<T>(list: readonly T[]): T;
};

/** mulberry32: 32 bits of state, enough to choose moments and victims. */
export function seeded(seed: number): Random {
  let state = seed | 0;
  const below = (most: number): number => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return (((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * most;
  };
  return {
    below,
    integer: (least, most) => least + Math.floor(below(most - least + 1)),
    pick<T>(list: readonly T[]): T {
      return list[Math.floor(below(list.length))] as T;
    },
  };
}
