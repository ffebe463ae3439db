import { readdirSync, readFileSync } from 'node:fs';
import { join, normalize, relative } from 'node:path';

/** Which parts of src may import which; a part that is not named here may import anything but app and main. */
const ALLOWED: Record<string, { local: string[]; packages: RegExp }> = {
  // Pure: no I/O, no third-party client.
  domain: { local: ['domain'], packages: /^node:crypto$/ },
  // A pure function of the request and its configuration; its server takes the certificates.
  admission: {
    local: ['admission', 'domain', 'certs'],
    packages: /^node:(events|http2|net|stream|timers\/promises)$/,
  },
  coordination: {
    local: ['coordination', 'domain'],
    packages: /^(ioredis|redlock|node:(crypto|fs|timers\/promises))$/,
  },
  kube: { local: ['kube', 'domain'], packages: /./ },
  certs: { local: ['certs', 'domain', 'kube', 'metrics'], packages: /./ },
  api: {
    local: ['api', 'domain', 'kube'],
    packages: /^(fastify|@fastify\/.+|typebox(\/.+)?|prom-client|node:(http|net|timers\/promises))$/,
  },
  metrics: { local: ['metrics'], packages: /./ },
};

/** Tests, and what several of them share. */
const TESTS = /\.(test|simulation)\.ts$/;
const SOURCES = join(import.meta.dirname, '../src');
const problems: string[] = [];

for (const entry of readdirSync(SOURCES, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.ts$/.test(entry.name) || TESTS.test(entry.name)) continue;
  const file = relative(SOURCES, join(entry.parentPath, entry.name));
  const rule = ALLOWED[file.split('/')[0] ?? ''];
  const text = readFileSync(join(SOURCES, file), 'utf8');
  for (const [, target = ''] of text.matchAll(/^(?:import|export)\b[^'"]*from '([^']+)'/gms)) {
    const problem = forbidden(file, target, rule);
    if (problem) problems.push(`src/${file}: must not import ${target}: ${problem}`);
  }
}

for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;

function forbidden(
  file: string,
  target: string,
  rule: (typeof ALLOWED)[string] | undefined,
): string | undefined {
  const local = target.startsWith('.') ? normalize(join(file, '..', target)) : undefined;
  if (local && /^(app|main)\.ts$/.test(local) && !/^(app|main)\.ts$/.test(file))
    return 'the wiring knows the parts, not the other way round';
  if (!rule) return undefined;
  if (!local) return rule.packages.test(target) ? undefined : 'not one of the packages this part may use';
  const part = local.split('/')[0] ?? '';
  return rule.local.includes(part) ? undefined : `this part may import ${rule.local.join(', ')} only`;
}
