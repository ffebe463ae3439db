import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { imageReferences } from './image-cases.ts';
import { type NodeCase, nodeCases } from './node-cases.ts';
import type { Oracle, Refusals } from './oracle.ts';

/** One question with what Kubernetes and containerd answered. */
export type Vector = { asked: NodeCase; refusedBy: Refusals } | { image: string; canonical?: string };

export const VECTORS_FILE = join(import.meta.dirname, 'vectors.jsonl.gz');
const SEED = 20_260_701;
const NODE_CASES = 10_000;
const IMAGE_CASES = 2000;

export function readVectors(): Vector[] {
  const lines = gunzipSync(readFileSync(VECTORS_FILE)).toString('utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Vector);
}

/** The text of the file: the same for the same seed, version of fast-check and answers. */
export async function makeVectors(oracle: Oracle): Promise<string> {
  const nodes = fc.sample(nodeCases, { seed: SEED, numRuns: NODE_CASES });
  const images = fc.sample(imageReferences, { seed: SEED, numRuns: IMAGE_CASES });
  const vectors: Promise<Vector>[] = [
    ...nodes.map(async (asked) => ({ asked, refusedBy: await oracle.refusals(asked) })),
    ...images.map(async (image) => {
      const canonical = await oracle.canonical(image);
      return canonical === undefined ? { image } : { image, canonical };
    }),
  ];
  return (await Promise.all(vectors)).map((vector) => `${JSON.stringify(vector)}\n`).join('');
}
