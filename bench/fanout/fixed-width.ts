import { registerHooks } from 'node:module';

/**
 * For `node --import`: IPS with its rule of widths taken out. `ips/concurrent-pulls` is a fixed width, and a node that
 * the registry's limit refused has failed like any other, and waits for its next try.
 */
const INSTEAD = {
  nextWidth: '(_, width) { return width; }',
  withoutCrowd: '(outcomes) { return outcomes; }',
};

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.endsWith('/src/domain/pull-width.ts')) return loaded;
    let source = String(loaded.source);
    for (const [name, instead] of Object.entries(INSTEAD)) {
      const rule = `export function ${name}(`;
      if (!source.includes(rule)) throw new Error(`${url} has no ${rule}`);
      source = `${source.replace(rule, `function ${name}ByRule(`)}\nexport function ${name}${instead}\n`;
    }
    return { ...loaded, source };
  },
});
