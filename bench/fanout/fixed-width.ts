import { registerHooks } from 'node:module';

/** For `node --import`: IPS with its rule of widths taken out, so that `ips/concurrent-pulls` is a fixed width. */
const RULE = 'export function nextWidth(';

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.endsWith('/src/domain/pull-width.ts')) return loaded;
    const source = String(loaded.source);
    if (!source.includes(RULE)) throw new Error(`${url} has no ${RULE}`);
    const without = source.replace(RULE, 'export function nextWidthByRule(');
    return {
      ...loaded,
      source: `${without}\nexport function nextWidth(_: unknown, width) { return width; }\n`,
    };
  },
});
