import {
  type Config,
  type Flags,
  type FlagType,
  OPTIONS,
  type Option,
  readFlags,
  readSettings,
} from '../config.ts';
import type { StrategyOptions } from '../domain/node-strategy.ts';
import type { WarmerOptions } from '../domain/warmer-job.ts';
import { type WorkloadTypes, workloadTypes } from '../domain/workload-types.ts';

export type Format = 'table' | 'wide' | 'json' | 'yaml';

/** What of the operator's settings decides a plan. */
export type PlanSettings = WarmerOptions &
  StrategyOptions &
  Pick<Config, 'excludedNamespaces' | 'maxConcurrentPulls'> & {
    /** Nobody said whether there is a no-op for nodes that cannot mount image volumes: a plan counts on it. */
    legacyAssumed: boolean;
    types: WorkloadTypes;
  };

export type PlanOptions = {
  files: string[];
  nodeFiles: string[];
  cluster: { kubeconfig: string | undefined; context: string | undefined } | undefined;
  format: Format;
  /** Of objects that name none. */
  namespace: string;
  settings: PlanSettings;
};

export type PlanCommand =
  | { run: 'plan'; options: PlanOptions }
  | { run: 'stream'; settings: PlanSettings }
  | { run: 'help' };

export type PlanCommandResult = { ok: true; command: PlanCommand } | { ok: false; errors: string[] };

/** Settings of IPS that change a plan, by their flags and variables; the others do not concern it. */
const SETTINGS: Record<string, Option> = {
  pullStrategy: OPTIONS.pullStrategy,
  workerImage: OPTIONS.workerImage,
  workerImageLegacy: OPTIONS.workerImageLegacy,
  warmerPriorityClass: OPTIONS.warmerPriorityClass,
  maxConcurrentPulls: OPTIONS.maxConcurrentPulls,
  excludedNamespaces: OPTIONS.excludedNamespaces,
  customWorkloads: OPTIONS.customWorkloads,
};

/** Stands for the image of the no-op where nobody named it; no registry has a name without dots. */
export const ASSUMED_LEGACY_IMAGE = 'worker-image-legacy/not-set';

const FORMATS = ['json', 'yaml', 'wide'] as const;

const FLAGS: Record<string, FlagType> = {
  filename: { type: 'string', short: 'f', multiple: true },
  nodes: { type: 'string', multiple: true },
  context: { type: 'string' },
  kubeconfig: { type: 'string' },
  namespace: { type: 'string', short: 'n' },
  output: { type: 'string', short: 'o' },
  stream: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  ...Object.fromEntries(Object.values(SETTINGS).map(({ flag }) => [flag, { type: 'string' as const }])),
};

/** Reads what follows `ips plan`; every mistake is told at once. */
export function readPlan(args: string[], environment: NodeJS.ProcessEnv): PlanCommandResult {
  const errors: string[] = [];
  const flags = readFlags(args, FLAGS, errors);
  if (flags['help']) return { ok: true, command: { run: 'help' } };
  const settings = readPlanSettings(flags, environment, errors);
  const command: PlanCommand = flags['stream']
    ? { run: 'stream', settings }
    : { run: 'plan', options: readOptions(flags, settings, errors) };
  if (flags['stream'])
    for (const name of ['filename', 'nodes', 'context', 'kubeconfig', 'namespace', 'output'])
      if (flags[name] !== undefined)
        errors.push(`--${name} is not for --stream, which takes everything from its lines (see --help)`);
  return errors.length > 0 ? { ok: false, errors } : { ok: true, command };
}

function readOptions(flags: Flags, settings: PlanSettings, errors: string[]): PlanOptions {
  const text = (name: string) => flags[name] as string | undefined;
  const files = (flags['filename'] as string[] | undefined) ?? [];
  const nodeFiles = (flags['nodes'] as string[] | undefined) ?? [];
  const [context, kubeconfig, output] = [text('context'), text('kubeconfig'), text('output')];
  const cluster = context || kubeconfig ? { kubeconfig, context } : undefined;
  if (files.length === 0) errors.push('-f is missing: say which workloads, -f FILE or -f - (see --help)');
  if (cluster && nodeFiles.length > 0)
    errors.push(
      '--nodes and --context (--kubeconfig) both say where nodes come from: choose one (see --help)',
    );
  if (output && !(FORMATS as readonly string[]).includes(output))
    errors.push(`-o ${output}: must be one of ${FORMATS.join(', ')}`);
  if ([...files, ...nodeFiles].filter((file) => file === '-').length > 1)
    errors.push('- (standard input) can be read only once');
  const format = (output ?? 'table') as Format;
  return { files, nodeFiles, cluster, format, namespace: text('namespace') ?? 'default', settings };
}

function readPlanSettings(flags: Flags, environment: NodeJS.ProcessEnv, errors: string[]): PlanSettings {
  const variables = Object.values(SETTINGS).map(({ env }) => [env, environment[env]] as const);
  // The variables of a shell that do not concern a plan must not keep it from one.
  const own: NodeJS.ProcessEnv = Object.fromEntries(variables);
  const { env, flag } = OPTIONS.workerImageLegacy;
  const legacyAssumed = flags[flag] === undefined && own[env] === undefined;
  if (legacyAssumed) own[env] = ASSUMED_LEGACY_IMAGE;
  // A flag of this command may have the name of one of the server's.
  const settings = Object.fromEntries(Object.values(SETTINGS).map(({ flag: name }) => [name, flags[name]]));
  const config = readSettings(settings, own, errors);
  return {
    strategy: config.pullStrategy,
    workerImage: config.workerImage,
    workerImageLegacy: config.workerImageLegacy,
    priorityClassName: config.warmerPriorityClass,
    excludedNamespaces: config.excludedNamespaces,
    maxConcurrentPulls: config.maxConcurrentPulls,
    legacyAssumed,
    types: workloadTypes(config.customWorkloads),
  };
}

export function planHelp(): string {
  const settings = Object.values(SETTINGS).map(
    ({ flag, env, help }) => `  ${`--${flag} VALUE`.padEnd(34)}${env.padEnd(24)}${help}`,
  );
  return `ips plan: shows which images IPS would bring to which nodes, and why not to the others

usage: ips plan -f FILE… --nodes FILE… [-o json|yaml|wide] [-n NAMESPACE]
       ips plan -f FILE… --context NAME [--kubeconfig FILE] …
       ips plan --stream

  -f, --filename FILE   workloads, and RuntimeClasses that they name; YAML or JSON, several documents or a List;
                        - is standard input; may be given several times
  --nodes FILE          nodes, such as \`kubectl get nodes -o json\` prints, and RuntimeClasses
  --context NAME        asks this cluster for nodes and RuntimeClasses instead; changes nothing there
  --kubeconfig FILE     where the context is looked up; alone: its current context
                        [KUBECONFIG, or ~/.kube/config]
  -n, --namespace NAME  of workloads that name none [default]
  -o, --output FORMAT   json, yaml, or wide; without it a table
  --stream              reads one JSON object a line, answers one a line, in the same order:
                        {"id":…,"workload":{…} or "podSpec":{…},"nodes":[…],"runtimeClass":{…}}
                        {"id":…,"images":[…],"nodes":["name",…],"skipped":[{"node":…,"reason":…}],"warnings":[…]}
                        a line that cannot be planned: {"id":…,"error":…}
  -h, --help            prints this

Settings as IPS itself has them; a flag goes before its variable:
${settings.join('\n')}

Where WORKER_IMAGE_LEGACY is not given, a plan counts on it and warns where it is needed; give it empty in the
environment to see what is left out without it.

Examples:
  kubectl get nodes -o json > nodes.json
  ips plan -f deployment.yaml --nodes nodes.json
  kustomize build . | ips plan -f - --nodes nodes.json -o wide
  ips plan -f deployment.yaml --context production -o json
  jq -c '{id: .metadata.name, workload: ., nodes: $n[0].items}' --slurpfile n nodes.json web.json | ips plan --stream

Exit code: 0 the plan is printed; 1 the cluster did not answer; 2 something in the input is wrong. What could be planned
is printed all the same. With --stream a bad line is told in its answer, and the exit code is 0.
`;
}
