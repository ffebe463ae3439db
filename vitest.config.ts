import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // What was there in place of nothing is told, also where only the message is kept.
    chaiConfig: { truncateThreshold: 2_000 },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'bench/**/*.test.ts', 'test/chaos/{plan,invariants,limits}.test.ts'],
          environment: 'node',
          testTimeout: 30_000,
        },
      },
      { test: { name: 'fuzz', include: ['test/fuzz/**/*.test.ts'], environment: 'node' } },
      {
        test: {
          name: 'oracle',
          include: ['test/oracle/**/*.test.ts'],
          environment: 'node',
          // The first time its program is built; a search of a million cases by hand takes minutes.
          hookTimeout: 600_000,
          testTimeout: 3_600_000,
        },
      },
      // Every adapter of the same port, on real servers.
      {
        test: {
          name: 'conformance',
          include: ['test/conformance/**/*.test.ts'],
          environment: 'node',
          // They mostly wait.
          sequence: { concurrent: true },
          maxConcurrency: 30,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      // Commands as processes, without a cluster.
      {
        test: { name: 'cli', include: ['test/cli/**/*.test.ts'], environment: 'node', testTimeout: 120_000 },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          environment: 'node',
          globalSetup: ['test/e2e/global-setup.ts'],
          // One cluster, and one IPS at a time on it.
          fileParallelism: false,
          // Those marked concurrent mostly wait.
          maxConcurrency: 20,
          // Longer than any wait within, which says what it waited for. Where time is what is tested, a test says so.
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      // On a cluster of its own, which it hurts.
      { test: { name: 'chaos', include: ['test/chaos/chaos.test.ts'], environment: 'node' } },
    ],
  },
});
