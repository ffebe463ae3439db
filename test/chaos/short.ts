/** The run that is one of the tests: of one seed, all kinds of faults close together. */
export const SHORT = { seed: 1, forMs: 45_000, scale: 0.35 };
