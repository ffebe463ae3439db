/**
 * Image references in the form that containerd stores and the kubelet reports. The grammar and the defaults are
 * those of `ParseDockerRef` of github.com/distribution/reference v0.6.0, by which containerd's CRI plugin names
 * what it pulls: two spellings of one image must compare equal, and never two images.
 */

export type ImageReference = {
  /** Registry and repository, written out: `docker.io/library/nginx`. */
  name: string;
  /** Never set beside a digest: a digest alone says which image it is. */
  tag?: string;
  digest?: string;
  /** `name:tag` or `name@digest`. */
  canonical: string;
};

export type ImageReferenceResult = { ok: true; reference: ImageReference } | { ok: false; reason: string };

const DEFAULT_DOMAIN = 'docker.io';
const LEGACY_DEFAULT_DOMAIN = 'index.docker.io';
const MAX_PATH_LENGTH = 255;
const MAX_QUOTED_LENGTH = 100;

/** Hexadecimal digits by algorithm: those of github.com/opencontainers/go-digest v1. */
const DIGEST_LENGTHS = new Map([
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
]);

const DOMAIN_COMPONENT = '[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*';
const DOMAIN = `(?:${DOMAIN_COMPONENT}(?:\\.${DOMAIN_COMPONENT})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const PATH_COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const PATH = `${PATH_COMPONENT}(?:/${PATH_COMPONENT})*`;
const TAG = '\\w[\\w.-]{0,127}';
const DIGEST = [...DIGEST_LENGTHS].map(([algorithm, length]) => `${algorithm}:[a-f0-9]{${length}}`).join('|');

const REFERENCE = new RegExp(`^((?:${DOMAIN}/)?(${PATH}))(?::(${TAG}))?(?:@(${DIGEST}))?$`);
const WHOLE_TAG = new RegExp(`^${TAG}$`);
const WHOLE_DIGEST = new RegExp(`^(?:${DIGEST})$`);
const IMAGE_ID = /^[a-f0-9]{64}$/;

/**
 * Reads and normalises an image reference as containerd does: registry `docker.io`, namespace `library` and tag
 * `latest` where they are left out; the tag dropped where there is a digest. The reason of a refusal is a sentence
 * for the one who wrote the reference.
 */
export function parseImageReference(text: string): ImageReferenceResult {
  const match = REFERENCE.exec(withDomain(text));
  if (match === null || IMAGE_ID.test(text)) {
    return { ok: false, reason: explainRefusal(text) };
  }
  const [, name = '', path = '', tag = 'latest', digest] = match;
  // Only the path counts: the registry's name may be as long as it likes (distribution/reference, Parse).
  if (path.length > MAX_PATH_LENGTH) {
    return { ok: false, reason: `repository ${quote(path)} is longer than ${MAX_PATH_LENGTH} characters` };
  }
  if (digest !== undefined) {
    return { ok: true, reference: { name, digest, canonical: `${name}@${digest}` } };
  }
  return { ok: true, reference: { name, tag, canonical: `${name}:${tag}` } };
}

/** The canonical form of an image reference, or undefined where it is none. */
export function normalizeImage(text: string): string | undefined {
  const result = parseImageReference(text);
  return result.ok ? result.reference.canonical : undefined;
}

/** Where none is set (API reference of Container, `imagePullPolicy`): a tag `latest` may move at any time. */
export function pullPolicyOf({ tag, digest }: ImageReference): 'Always' | 'IfNotPresent' {
  return !digest && (tag ?? 'latest') === 'latest' ? 'Always' : 'IfNotPresent';
}

function withDomain(text: string): string {
  const { domain, remainder } = splitDomain(text);
  const official = domain === DEFAULT_DOMAIN && !remainder.includes('/');
  return official ? `${domain}/library/${remainder}` : `${domain}/${remainder}`;
}

/** What stands before the first slash is a registry only where it looks like one (`splitDockerDomain`). */
function splitDomain(text: string): { domain: string; remainder: string } {
  const slash = text.indexOf('/');
  if (slash === -1) {
    return { domain: DEFAULT_DOMAIN, remainder: text };
  }
  const first = text.slice(0, slash);
  const remainder = text.slice(slash + 1);
  if (first === LEGACY_DEFAULT_DOMAIN) {
    return { domain: DEFAULT_DOMAIN, remainder };
  }
  const isDomain = first === 'localhost' || /[.:]/.test(first) || first !== first.toLowerCase();
  return isDomain ? { domain: first, remainder } : { domain: DEFAULT_DOMAIN, remainder: text };
}

/** Why the grammar refused a reference: the first part of it that is wrong, and what would be right. */
function explainRefusal(text: string): string {
  if (text === '') {
    return 'the image reference is empty';
  }
  if (/\s/.test(text)) {
    return `image reference ${quote(text)} contains white space`;
  }
  if (IMAGE_ID.test(text)) {
    return `image reference ${quote(text)} is an image ID, not a name: write repository@sha256:… instead`;
  }
  const at = text.indexOf('@');
  const named = at === -1 ? text : text.slice(0, at);
  return (
    explainDigest(at === -1 ? undefined : text.slice(at + 1)) ??
    explainName(named) ??
    `image reference ${quote(text)} is not of the form [registry/]repository[:tag][@digest]`
  );
}

function explainDigest(digest: string | undefined): string | undefined {
  if (digest === undefined || WHOLE_DIGEST.test(digest)) {
    return undefined;
  }
  const algorithm = digest.split(':', 1)[0] ?? '';
  const length = DIGEST_LENGTHS.get(algorithm);
  if (length === undefined) {
    return `digest ${quote(digest)} does not begin with one of ${[...DIGEST_LENGTHS.keys()].join(', ')} and a colon`;
  }
  return `digest ${quote(digest)} does not have ${length} lowercase hexadecimal digits after "${algorithm}:"`;
}

function explainName(named: string): string | undefined {
  const { remainder } = splitDomain(named);
  const colon = remainder.indexOf(':');
  const path = colon === -1 ? remainder : remainder.slice(0, colon);
  if (path !== path.toLowerCase()) {
    return `repository ${quote(path)} must be lowercase`;
  }
  const tag = colon === -1 ? undefined : remainder.slice(colon + 1);
  if (tag !== undefined && !WHOLE_TAG.test(tag)) {
    return `tag ${quote(tag)} is not 1 to 128 letters, digits, "_", "." or "-", the first a letter, a digit or "_"`;
  }
  return undefined;
}

/** Reasons go into Events and annotations, so what they quote is one line and short. */
function quote(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED_LENGTH ? `${text.slice(0, MAX_QUOTED_LENGTH)}…` : text);
}
