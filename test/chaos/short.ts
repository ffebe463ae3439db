/** The run that is one of the tests: by this seed each kind of fault comes once. */
export const SHORT = { seed: 72, forMs: 36_000, scale: 0.35, expiring: true };
