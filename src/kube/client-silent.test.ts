import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createSecureServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import forge from 'node-forge';
import { expect, it, onTestFinished } from 'vitest';
import { createKubeClient } from './client.ts';
import { loadKubeConfig } from './config.ts';
import { RESOURCES } from './resources.ts';

function selfSigned(): { key: string; cert: string } {
  const { privateKey, publicKey } = forge.pki.rsa.generateKeyPair(2048);
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = publicKey;
  certificate.validity.notAfter = new Date(Date.now() + 3_600_000);
  certificate.setSubject([{ name: 'commonName', value: 'api' }]);
  certificate.setIssuer([{ name: 'commonName', value: 'api' }]);
  certificate.sign(privateKey, forge.md.sha256.create());
  return { key: forge.pki.privateKeyToPem(privateKey), cert: forge.pki.certificateToPem(certificate) };
}

it('a connection on which nobody answers any more is given up, and the next request opens another', async () => {
  const sessions: ServerHttp2Session[] = [];
  const silent = new Set<ServerHttp2Session>();
  const server = createSecureServer(selfSigned());
  server.on('session', (session) => sessions.push(session));
  server.on('stream', (stream) => {
    if (stream.session && silent.has(stream.session as ServerHttp2Session)) return;
    stream.respond({ ':status': 200, 'content-type': 'application/json' });
    stream.end('{"metadata":{}}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const folder = await mkdtemp(join(tmpdir(), 'ips-silent-'));
  onTestFinished(async () => {
    for (const session of sessions) session.destroy();
    server.close();
    await rm(folder, { recursive: true });
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const file = join(folder, 'kubeconfig');
  const config = {
    clusters: [{ name: 'c', cluster: { server: url, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'u', user: {} }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  await writeFile(file, JSON.stringify(config));
  const client = createKubeClient(loadKubeConfig(file), { userAgent: 'test', timeoutMs: 2_000 });
  const get = () => client.get(RESOURCES.nodes, undefined, 'a');
  await get();
  for (const session of sessions) silent.add(session);
  await expect(get()).rejects.toThrow('did not answer');
  await expect(get()).resolves.toEqual({ metadata: {} });
  expect(sessions).toHaveLength(2);
});
