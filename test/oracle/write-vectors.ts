import { writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { startOracle } from './oracle.ts';
import { makeVectors, VECTORS_FILE } from './vectors.ts';

const oracle = await startOracle();
try {
  const text = await makeVectors(oracle);
  const compressed = gzipSync(text, { level: 9 });
  await writeFile(VECTORS_FILE, compressed);
  console.log(`${text.split('\n').length - 1} cases in ${compressed.length} bytes: ${VECTORS_FILE}`);
} finally {
  await oracle.end();
}
