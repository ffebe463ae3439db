/** What the controllers need of the other replicas. Nothing breaks when an answer is wrong: names and resource versions see to that. */

/** Which tasks are worked on now, and by whom. */
export type TaskClaims = {
  /** Claims a task for this replica, or keeps the claim. False: not now; `onFree` is called when asking again is worth it. */
  claim(task: string, rank: { priority: number; sinceMs: number }): Promise<boolean>;
  release(task: string): Promise<void>;
};

/** How many warmers may run at the same time in the cluster; a token is one running warmer. */
export type PullTokens = {
  /**
   * Tells that `holder` has `running` warmers and asks for `wanted` more; gives how many it may start, from 0 to
   * `wanted`. Absolute numbers, so that a call too many or too few mends itself.
   */
  claim(holder: string, running: number, wanted: number): Promise<number>;
  release(holder: string): Promise<void>;
};
