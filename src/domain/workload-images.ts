import type { Settings } from './annotations.ts';
import { type ImageReference, parseImageReference, pullPolicyOf } from './image-reference.ts';
import type { Container, PodSpec } from './kubernetes.ts';
import type { TaskImage } from './prewarm-task.ts';
import { quote } from './quote.ts';

/** As many, and as long, as the schema of PrewarmTask takes. */
const MAX_IMAGES = 100;
const MAX_IMAGE_LENGTH = 512;
const LIMIT = `a task takes ${MAX_IMAGES} images of ${MAX_IMAGE_LENGTH} characters`;
/** With the longest tag beside the longest digest, of which only one is kept. */
const MAX_WRITTEN_LENGTH = 700;
/** What is wrong is read, and told, no more often than this. */
const MAX_LEFT_OUT = 100;

/**
 * The images of containers, init containers and image volumes, less those excluded, and the extra ones; each once, by
 * name. What is left out becomes a warning, and the rest goes on. Ephemeral containers are never part of it: they
 * belong to one pod that runs already.
 */
export function collectImages(spec: PodSpec, settings: Settings, warnings: string[]): TaskImage[] {
  const images = new Map<string, TaskImage>();
  let leftOut = 0;
  const add = (where: string, text: string | undefined, policy: string | undefined): void => {
    const read = leftOut < MAX_LEFT_OUT ? readImage(text, policy, images) : undefined;
    if (read && 'reference' in read) {
      const { canonical } = read.reference;
      const always = (policy || pullPolicyOf(read.reference)) === 'Always';
      const pullPolicy = always || images.get(canonical)?.pullPolicy === 'Always' ? 'Always' : 'IfNotPresent';
      images.set(canonical, { image: canonical, pullPolicy });
      return;
    }
    leftOut += 1;
    if (read) warnings.push(`${where}${text ? `: image ${quote(text)} is left out:` : ''} ${read.reason}`);
  };
  const containers: Container[] = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const excluded = new Set(settings.excludeContainers);
  const names = new Set(containers.map(({ name }) => name));
  for (const { name, image, imagePullPolicy } of containers) {
    if (!excluded.has(name)) add(`container ${shown(name)}`, image, imagePullPolicy);
  }
  for (const name of excluded) {
    if (!names.has(name))
      warnings.push(`annotation ips/exclude-containers: there is no container ${shown(name)}`);
  }
  for (const volume of spec.volumes ?? []) {
    if (volume.image) add(`volume ${shown(volume.name)}`, volume.image.reference, volume.image.pullPolicy);
  }
  for (const text of settings.extraImages) add('annotation ips/extra-images', text, 'IfNotPresent');
  if (leftOut > MAX_LEFT_OUT) warnings.push(`${leftOut - MAX_LEFT_OUT} more images are left out unread`);
  return [...images.values()].sort((a, b) => (a.image < b.image ? -1 : 1));
}

function readImage(
  text: string | undefined,
  policy: string | undefined,
  images: ReadonlyMap<string, unknown>,
): { reference: ImageReference } | { reason: string } {
  if (!text) return { reason: 'names no image' };
  // The kubelet would not pull for the pod either.
  if (policy === 'Never') return { reason: 'its pull policy is Never' };
  if (text.length > MAX_WRITTEN_LENGTH) return { reason: 'it is longer than any reference' };
  const parsed = parseImageReference(text);
  if (!parsed.ok) return parsed;
  const { canonical } = parsed.reference;
  const fits = canonical.length <= MAX_IMAGE_LENGTH && (images.size < MAX_IMAGES || images.has(canonical));
  return fits ? parsed : { reason: LIMIT };
}

/** A name that the API server takes stands as it is. */
function shown(name: string): string {
  return /^[\w.-]{1,63}$/.test(name) ? name : quote(name);
}
