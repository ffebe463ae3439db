import { STATUS_CODES } from 'node:http';
import type { FastifyReply, FastifySchemaValidationError } from 'fastify';
import Type, { type Static } from 'typebox';
import { KubeError } from '../kube/errors.ts';

/** What every answer that is not a success looks like (RFC 9457), served as `application/problem+json`. */
export const ProblemDocument = Type.Object(
  {
    type: Type.String({ description: 'Always about:blank: `status` and `code` say what it is.' }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: 'IPS_API_…: the same word for the same kind of problem.' }),
    detail: Type.String({ description: 'A sentence that its reader can act on.' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          pointer: Type.Optional(
            Type.String({ description: 'The field of the body, as a JSON pointer: #/images/0/image' }),
          ),
          parameter: Type.Optional(Type.String({ description: 'The parameter of the path or the query.' })),
          detail: Type.String(),
        }),
        { description: 'Each field that is wrong.' },
      ),
    ),
  },
  { $id: 'Problem' },
);

export const PROBLEM_TYPE = 'application/problem+json';

export type FieldError = { pointer?: string; parameter?: string; detail: string };

const CODES: Record<number, string> = {
  400: 'IPS_API_INVALID',
  401: 'IPS_API_UNAUTHENTICATED',
  403: 'IPS_API_FORBIDDEN',
  404: 'IPS_API_NOT_FOUND',
  405: 'IPS_API_METHOD_NOT_ALLOWED',
  408: 'IPS_API_TIMEOUT',
  409: 'IPS_API_CONFLICT',
  413: 'IPS_API_TOO_LARGE',
  415: 'IPS_API_MEDIA_TYPE',
  422: 'IPS_API_INVALID',
  431: 'IPS_API_TOO_LARGE',
  503: 'IPS_API_UNAVAILABLE',
};
const RETRY_AFTER_SECONDS = '2';

/** An answer that is not a success; thrown by whoever finds the reason. */
export class Problem extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly errors: FieldError[] | undefined;

  constructor(
    status: number,
    detail: string,
    options: { headers?: Record<string, string>; errors?: FieldError[]; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause });
    this.name = 'Problem';
    this.status = status;
    this.headers = options.headers ?? {};
    this.errors = options.errors;
  }
}

export function problemDocument({ status, message, errors }: Problem): Static<typeof ProblemDocument> {
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    code: CODES[status] ?? (status < 500 ? 'IPS_API_INVALID' : 'IPS_API_INTERNAL'),
    detail: message,
    ...(errors ? { errors } : {}),
  };
}

export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  // Serialised here: the schemas of a route's answers are for its successes.
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type(PROBLEM_TYPE)
    .serializer(JSON.stringify)
    .send(problemDocument(problem));
}

export function unavailable(detail: string, cause?: unknown): Problem {
  return new Problem(503, detail, { cause, headers: { 'retry-after': RETRY_AFTER_SECONDS } });
}

/** Fields of the body that are wrong, though it could be read. */
export function invalidFields(errors: FieldError[]): Problem {
  return new Problem(422, sentence(errors), { errors });
}

/** A validator's findings: the body's fields by pointer, the others by their parameter. */
export function validationProblem(found: FastifySchemaValidationError[], part: string): Problem {
  const errors = found.flatMap((each) => fieldErrors(each, part));
  if (part === 'body') return invalidFields(errors);
  return new Problem(400, sentence(errors), { errors });
}

/** Whatever was thrown on the way to an answer; undefined where it is a fault of ours, which its reader need not see. */
export function problemOf(error: unknown): Problem | undefined {
  if (error instanceof Problem) return error;
  if (error instanceof KubeError) return kubeProblem(error);
  // fastify's own: a body that is too large, not JSON, of another media type.
  const { statusCode, message = '' } = error as { statusCode?: unknown; message?: string };
  const known = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500;
  if (!known) return undefined;
  return new Problem(statusCode, statusCode === 415 ? 'send application/json' : message, { cause: error });
}

/** What a refusal of the API server means to the one who asked here. */
function kubeProblem(error: KubeError): Problem {
  const detail = `Kubernetes did not take it: ${error.message}`;
  if (error.status === 404 || error.status === 409)
    return new Problem(error.status, detail, { cause: error });
  if (error.status === 400 || error.status === 422) return new Problem(422, detail, { cause: error });
  if (error.status === 403) return new Problem(403, detail, { cause: error });
  return unavailable('the API server of the cluster does not answer; try again', error);
}

function fieldErrors(found: FastifySchemaValidationError, part: string): FieldError[] {
  const { instancePath, message = 'is wrong' } = found;
  // Typebox tells of an unknown field twice: where it is, and where it is not expected.
  if (found.keyword === 'additionalProperties') return [];
  if (found.keyword === 'boolean') return [fieldError(part, instancePath, 'is not a known field')];
  const missing = found.params['requiredProperties'];
  if (Array.isArray(missing))
    return missing.map((name) => fieldError(part, `${instancePath}/${name}`, 'is required'));
  const allowed = found.params['allowedValues'];
  const detail = Array.isArray(allowed) ? `must be one of ${allowed.join(', ')}` : message;
  return [fieldError(part, instancePath, detail)];
}

function fieldError(part: string, path: string, detail: string): FieldError {
  return part === 'body' ? { pointer: `#${path}`, detail } : { parameter: path.slice(1), detail };
}

function sentence(errors: FieldError[]): string {
  return errors.map(({ pointer, parameter, detail }) => `${pointer ?? parameter}: ${detail}`).join('; ');
}
