import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export type Script = { text: string; sha: string };

// Where IPS is bundled, scripts/esbuild.ts has put each text in the place of its call.
export const CLAIM = script(readFileSync(new URL('./claim.lua', import.meta.url), 'utf8'));
export const GIVE_BACK = script(readFileSync(new URL('./give-back.lua', import.meta.url), 'utf8'));
export const HEARTBEAT = script(readFileSync(new URL('./heartbeat.lua', import.meta.url), 'utf8'));

function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}
