import packageJson from '../package.json' with { type: 'json' };
import type { App } from './app.ts';
import { type ConfigResult, helpText, readConfig } from './config.ts';

// Each command loads what it needs: the client of Kubernetes alone takes half a second.

const { version } = packageJson;
/** Tells our requests apart in the API server's audit log. */
const userAgent = `image-prewarm-service/${version}`;
const args = process.argv.slice(2);

if (args[0] === 'plan') {
  const { readPlan } = await import('./cli/plan-options.ts');
  const { planCommand } = await import('./cli/plan-command.ts');
  process.exitCode = await planCommand(readPlan(args.slice(1), process.env), userAgent).catch(
    (error: unknown) => {
      console.error(`ips plan: ${error instanceof Error ? error.message : error}`);
      return 1;
    },
  );
} else {
  await run(readConfig(args, process.env));
}

async function run(result: ConfigResult): Promise<void> {
  if (!result.ok) {
    for (const error of result.errors) console.error(`ips: ${error}`);
    process.exit(2);
  }
  switch (result.command.run) {
    case 'help':
      console.log(helpText());
      break;
    case 'version':
      console.log(version);
      break;
    case 'uninstall': {
      const { run: _, ...command } = result.command;
      const { uninstall } = await import('./cli/uninstall.ts');
      const options = { ...command, userAgent, say: console.log };
      await uninstall(options).catch((error: unknown) => {
        console.error(`ips: ${error instanceof Error ? error.message : error}`);
        process.exit(1);
      });
      break;
    }
    case 'serve': {
      // Of a module of CommonJS a bundle in parts has the default only.
      const [{ default: pino }, { startApp }] = await Promise.all([import('pino'), import('./app.ts')]);
      const log = pino({ level: result.command.config.logLevel, base: { version } });
      let app: App | undefined;
      let stopping = false;
      for (const signal of ['SIGTERM', 'SIGINT'] as const) {
        process.on(signal, () => {
          // The second time is impatience.
          if (stopping) process.exit(1);
          stopping = true;
          log.info({ signal }, 'stopping');
          // Before it has started there is nothing to end in order.
          (app?.stop() ?? Promise.resolve()).then(
            () => process.exit(0),
            (error: unknown) => {
              log.error({ err: error }, 'stopping failed');
              process.exit(1);
            },
          );
        });
      }
      app = await startApp(result.command.config, { version, userAgent }, log).catch((error: unknown) => {
        log.fatal({ err: error }, 'could not start');
        process.exit(1);
      });
    }
  }
}
