import { type PlanCommandResult, planHelp } from './plan-options.ts';

/** `ips plan` as a process: its streams and its exit code. What a command does not need is not loaded. */
export async function planCommand(result: PlanCommandResult, userAgent: string): Promise<number> {
  // Who reads only the beginning (`| head`) has what it wanted.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  if (!result.ok) {
    for (const error of result.errors) console.error(`ips plan: ${error}`);
    return 2;
  }
  const { command } = result;
  switch (command.run) {
    case 'help':
      process.stdout.write(planHelp());
      return 0;
    case 'stream': {
      const { runStream } = await import('./plan-stream.ts');
      await runStream(process.stdin, write, command.settings);
      return 0;
    }
    case 'plan': {
      const { runPlan } = await import('./plan.ts');
      return runPlan(command.options, {
        readInput: async () => (await import('node:stream/consumers')).text(process.stdin),
        write: (text) => void process.stdout.write(text),
        tell: (line) => console.error(`ips plan: ${line}`),
        userAgent,
      });
    }
  }
}

/** Undefined where more may follow at once. */
function write(text: string): Promise<void> | undefined {
  if (process.stdout.write(text)) return undefined;
  return new Promise((resolve) => process.stdout.once('drain', resolve));
}
