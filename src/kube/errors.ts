/** `metav1.NamespaceTerminatingCause`: why nothing can be made in a namespace that is being deleted. */
export const NAMESPACE_TERMINATING = 'NamespaceTerminating';

/** An answer of the API server that is not a success, or no answer at all (`status` 0). */
export class KubeError extends Error {
  readonly code = 'IPS_KUBE_API';
  readonly status: number;
  /** The API's own word, such as `AlreadyExists`; of a namespace that is being deleted, that of the cause. */
  readonly reason: string;

  constructor(status: number, reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KubeError';
    this.status = status;
    this.reason = reason;
  }
}

export function isNotFound(error: unknown): boolean {
  return error instanceof KubeError && error.status === 404;
}

/** For `catch`: what is not there is undefined. */
export function ignoreNotFound(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
}

export function isForbidden(error: unknown): boolean {
  return error instanceof KubeError && error.status === 403;
}

/** The object exists already, or is not the version that was read. */
export function isConflict(error: unknown): boolean {
  return error instanceof KubeError && error.status === 409;
}

/** Nothing can be made there any more, which is nobody's fault. */
export function isNamespaceTerminating(error: unknown): boolean {
  return error instanceof KubeError && error.reason === NAMESPACE_TERMINATING;
}

/** The API server will not have it as it is: a quota, a policy, a schema. Asking again at once is of no use. */
export function isRefused(error: unknown): error is KubeError {
  return error instanceof KubeError && [400, 403, 422].includes(error.status);
}

/** The resource version asked for is too old: everything must be listed again. */
export function isGone(error: unknown): boolean {
  return error instanceof KubeError && (error.status === 410 || error.reason === 'Expired');
}
