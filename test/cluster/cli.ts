import { listClusters, startCluster, stopCluster } from './cluster.ts';
import { sandboxObstacle } from './sandbox.ts';

const say = (line: string) => console.error(`• ${line}`);
const [command, name = 'dev'] = process.argv.slice(2);

const commands: Record<string, () => Promise<void>> = { up, down };
const chosen = commands[command ?? ''];
if (!chosen) {
  console.error('usage: cli.ts up|down [NAME]   (down --all ends every cluster, also crashed ones)');
  process.exit(2);
}
await chosen().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});

async function up(): Promise<void> {
  const obstacle = await sandboxObstacle();
  if (obstacle) throw new Error(`a real cluster cannot run here: ${obstacle}`);
  const existing = (await listClusters()).find((cluster) => cluster.name === name && cluster.running);
  if (existing) {
    say(`cluster ${name} is already running; its kubeconfig:`);
    console.log(`${existing.folder}/kubeconfig`);
    return;
  }
  const cluster = await startCluster({ name, lifeline: false, say });
  say(`end it with: make cluster-down${name === 'dev' ? '' : ` CLUSTER=${name}`}; its kubeconfig:`);
  console.log(cluster.kubeconfigFile);
}

async function down(): Promise<void> {
  const clusters = (await listClusters()).filter((cluster) => name === '--all' || cluster.name === name);
  if (clusters.length === 0) say(`no cluster ${name} is there`);
  for (const cluster of clusters) {
    await stopCluster(cluster);
    say(`cluster ${cluster.name} ended (${cluster.running ? 'it was running' : 'it had crashed'})`);
  }
}
