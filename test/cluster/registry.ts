import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/** A registry as the host reaches it (`url`) and as the nodes name it in image references (`host`). */
export type Registry = { url: string; host: string; credentials?: { username: string; password: string } };

export type TestImage = {
  /** Repository and tag: `web:1`. */
  name: string;
  /** Bytes of random, incompressible content. */
  size: number;
  /** Put in the static binary under this name, as the entry point; without it nothing in the image can run. */
  executable?: 'pause' | 'trace' | 'noop';
  /** Further files, each executable. */
  files?: { path: string; from: string }[];
  /** More of the image's configuration, in the terms of the OCI image specification. */
  config?: object;
};

const TYPES = {
  layer: 'application/vnd.oci.image.layer.v1.tar',
  config: 'application/vnd.oci.image.config.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
};
const ARCHITECTURES: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };

/** Makes an image, pushes it, and gives the reference by which nodes pull it. Its content is new each time. */
export async function pushImage(registry: Registry, image: TestImage, binary: string): Promise<string> {
  const [repository = '', tag = 'latest'] = image.name.split(':');
  const files = [{ name: 'content', mode: 0o644, body: randomBytes(image.size) }];
  if (image.executable) files.push({ name: image.executable, mode: 0o755, body: await readFile(binary) });
  for (const { path, from } of image.files ?? [])
    files.push({ name: path, mode: 0o755, body: await readFile(from) });
  const layer = tar(files);
  const config = Buffer.from(
    JSON.stringify({
      architecture: ARCHITECTURES[process.arch] ?? process.arch,
      os: 'linux',
      config: {
        ...(image.executable
          ? {
              Entrypoint: [`/${image.executable}`],
              Env: [`TRACE=${registry.host}/${image.name}`],
              User: '65535:65535',
            }
          : {}),
        ...image.config,
      },
      rootfs: { type: 'layers', diff_ids: [digest(layer)] },
    }),
  );
  await pushBlob(registry, repository, layer);
  await pushBlob(registry, repository, config);
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: TYPES.manifest,
    config: { mediaType: TYPES.config, digest: digest(config), size: config.length },
    layers: [{ mediaType: TYPES.layer, digest: digest(layer), size: layer.length }],
  });
  await request(registry, 'PUT', `/v2/${repository}/manifests/${tag}`, Buffer.from(manifest), TYPES.manifest);
  return `${registry.host}/${image.name}`;
}

const ACCEPTED = `${TYPES.manifest}, application/vnd.docker.distribution.manifest.v2+json`;

/** Gives an image that is there a second name. */
export async function tagImage(registry: Registry, image: string, tag: string): Promise<string> {
  const { repository, manifest, type } = await manifestOf(registry, image);
  await request(registry, 'PUT', `/v2/${repository}/manifests/${tag}`, manifest, type);
  return `${registry.host}/${repository}:${tag}`;
}

/** Makes an image that is there one for other machines only, under another tag. */
export async function pushForeign(registry: Registry, image: string, tag: string): Promise<string> {
  const { repository, manifest, type } = await manifestOf(registry, image);
  const platform = { os: 'linux', architecture: 's390x' };
  const entry = { mediaType: type, digest: digest(manifest), size: manifest.length, platform };
  const index = { schemaVersion: 2, mediaType: TYPES.index, manifests: [entry] };
  const body = Buffer.from(JSON.stringify(index));
  await request(registry, 'PUT', `/v2/${repository}/manifests/${tag}`, body, TYPES.index);
  return `${registry.host}/${repository}:${tag}`;
}

async function manifestOf(registry: Registry, image: string) {
  const [repository = '', tag = ''] = image.slice(registry.host.length + 1).split(':');
  const path = `/v2/${repository}/manifests/${tag}`;
  const found = await request(registry, 'GET', path, undefined, undefined, ACCEPTED);
  const type = found.headers.get('content-type') ?? TYPES.manifest;
  return { repository, type, manifest: Buffer.from(await found.arrayBuffer()) };
}

async function pushBlob(registry: Registry, repository: string, blob: Buffer): Promise<void> {
  const started = await request(registry, 'POST', `/v2/${repository}/blobs/uploads/`);
  const location = new URL(started.headers.get('location') ?? '', registry.url);
  location.searchParams.set('digest', digest(blob));
  // The registry answers with the name it was asked by, which the host may not reach.
  const path = location.pathname + location.search;
  await request(registry, 'PUT', path, blob, 'application/octet-stream');
}

async function request(
  registry: Registry,
  method: string,
  path: string,
  body?: Buffer,
  type?: string,
  accept?: string,
): Promise<Response> {
  const headers: Record<string, string> = {};
  if (accept) headers['accept'] = accept;
  if (type) headers['content-type'] = type;
  if (registry.credentials) {
    const { username, password } = registry.credentials;
    headers['authorization'] = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }
  const response = await fetch(new URL(path, registry.url), {
    method,
    headers,
    ...(body ? { body: new Uint8Array(body) } : {}),
  });
  if (!response.ok)
    throw new Error(`${method} ${path} at ${registry.url}: ${response.status} ${await response.text()}`);
  return response;
}

function digest(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/** A POSIX ustar archive: 512-byte headers, content padded to 512, two empty blocks at the end. */
function tar(files: { name: string; mode: number; body: Buffer }[]): Buffer {
  const blocks: Buffer[] = [];
  for (const { name, mode, body } of files) {
    blocks.push(tarHeader(name, mode, body.length), body, Buffer.alloc((512 - (body.length % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

function tarHeader(name: string, mode: number, size: number): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, '0')}\0`;
  header.write(name, 0);
  header.write(octal(mode, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(size, 12), 124);
  header.write(octal(0, 12), 136);
  header.write(' '.repeat(8), 148);
  header.write('0', 156);
  header.write('ustar\0', 257);
  header.write('00', 263);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
