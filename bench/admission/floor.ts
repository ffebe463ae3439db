import { readFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

/** The least that Node can do: TLS, the review read as JSON, always the same patch. Connections are set as IPS sets them. */

const { values } = parseArgs({ options: { 'cert-dir': { type: 'string' }, port: { type: 'string' } } });
const { 'cert-dir': certDir = '.', port } = values;
const WINDOW = 4 << 20;
const patch = Buffer.from('[{"op":"add","path":"/metadata/labels/ips~1prewarm","value":"true"}]').toString(
  'base64',
);

const server = createSecureServer(
  {
    allowHTTP1: true,
    cert: readFileSync(join(certDir, 'tls.crt')),
    key: readFileSync(join(certDir, 'tls.key')),
    settings: { maxConcurrentStreams: 250 },
  },
  (request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      let uid: string;
      try {
        uid = JSON.parse(Buffer.concat(parts).toString()).request.uid;
      } catch {
        // Where the load ends, some leave in the middle of their request.
        response.writeHead(400).end();
        return;
      }
      const answer = { uid, allowed: true, patchType: 'JSONPatch', patch };
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: answer }),
      );
    });
  },
);
server.on('session', (session) => session.setLocalWindowSize(WINDOW));
server.listen(Number(port), '127.0.0.1');
