import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { normalizeImage } from '../domain/image-reference.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { isNotFound } from '../kube/errors.ts';
import type { Access, Caller, Demand } from './access.ts';
import { answerOtherMethods } from './methods.ts';
import { newTask } from './new-task.ts';
import { pageOf } from './pages.ts';
import { invalidFields, PROBLEM_TYPE, Problem, ProblemDocument, unavailable } from './problem.ts';
import { ANSWER, NewTask, NodeQuery, SHARED, TaskPath, TaskQuery, WorkloadQuery } from './schemas.ts';
import type { State } from './state.ts';
import { compileSchema, type SchemaTypes } from './validate.ts';
import { nodeViews, taskView, workloadViews } from './views.ts';

export type ApiOptions = {
  state: State;
  access: Access;
  version: string;
  /** Who changed what: the API server's own audit log only knows IPS's account. */
  log: { info(data: object, message: string): void };
};

declare module 'fastify' {
  interface FastifyRequest {
    caller: Caller | undefined;
  }
  interface FastifyContextConfig {
    /** What the caller must be allowed in Kubernetes; every route of the API says it. */
    demands?: (request: FastifyRequest) => Demand[];
  }
}

const PROBLEM = {
  description: 'A problem document (RFC 9457).',
  content: { [PROBLEM_TYPE]: { schema: Type.Unsafe<never>({ $ref: 'Problem#' }) } },
};
/** Longer than any token of a service account or an identity provider. */
const MAX_TOKEN_LENGTH = 16_384;

const onTasks = (verb: Demand['verb'], namespace: string | undefined, name?: string): Demand => ({
  ...{ verb, group: 'ips.dev', resource: 'prewarmtasks' },
  ...(namespace ? { namespace } : {}),
  ...(name ? { name } : {}),
});
const listNodes: Demand = { verb: 'list', group: '', resource: 'nodes' };
const pathOf = (request: FastifyRequest) => request.params as { namespace: string; name: string };
const namespaceIn = (from: unknown) => (from as { namespace?: string }).namespace;

/** `/api/v1`: reads come from memory, writes go to the API server once it has said that the caller may. */
export async function apiRoutes(instance: FastifyInstance, options: ApiOptions): Promise<void> {
  const { state, access, log } = options;
  const server = instance.withTypeProvider<SchemaTypes>();
  const finish = answerOtherMethods(instance);

  server.setValidatorCompiler(compileSchema);
  for (const schema of [ProblemDocument, ...SHARED]) server.addSchema(schema);
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Image Prewarm Service', version: options.version },
      components: {
        securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'Of Kubernetes.' } },
      },
      security: [{ token: [] }],
    },
    refResolver: { buildLocalReference: (json) => String(json['$id']) },
  });

  server.decorateRequest('caller', undefined);
  server.addHook('onRoute', (route) => {
    if (!route.config?.demands) throw new Error(`route ${route.url} does not say who may use it`);
  });
  server.addHook('onRequest', async (request, reply) => {
    reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    request.caller = await authenticate(access, request.headers.authorization);
  });
  server.addHook('preHandler', async (request) => {
    const { caller } = request;
    if (!caller) throw new Problem(401, 'no token');
    for (const demand of request.routeOptions.config.demands?.(request) ?? [])
      if (!(await access.allows(caller, demand))) throw forbidden(caller, demand);
    if (!state.hasSynced())
      throw unavailable('IPS has just started and does not know the cluster yet; try again');
  });
  server.setNotFoundHandler(() => {
    throw new Problem(404, 'there is nothing at this path; /api/v1/openapi.json tells what there is');
  });

  server.route({
    method: 'POST',
    url: '/tasks',
    schema: {
      operationId: 'createTask',
      summary: 'Warm images on nodes',
      body: NewTask,
      response: { 201: ANSWER.task, '4xx': PROBLEM, '5xx': PROBLEM },
    },
    config: { demands: (request) => [onTasks('create', namespaceIn(request.body))] },
    async handler(request, reply) {
      const task = newTask(request.body);
      const created = await state.createTask(task).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
        throw invalidFields([{ pointer: '#/namespace', detail: 'there is no such namespace' }]);
      });
      const { namespace, name } = created.metadata;
      log.info({ user: request.caller?.username, namespace, task: name }, 'task created through the API');
      return reply.code(201).header('location', `/api/v1/tasks/${namespace}/${name}`).send(taskView(created));
    },
  });

  server.route({
    method: 'GET',
    url: '/tasks',
    schema: {
      operationId: 'listTasks',
      summary: 'Tasks, by namespace and name',
      querystring: TaskQuery,
      response: { 200: ANSWER.tasks, '4xx': PROBLEM, '5xx': PROBLEM },
    },
    config: { demands: (request) => [onTasks('list', namespaceIn(request.query))] },
    async handler({ query }) {
      const image = query.image === undefined ? undefined : readImage(query.image);
      const found = tasksIn(state, query.namespace).filter(
        ({ spec, status }) =>
          (!query.status || (status?.phase ?? 'Pending') === query.status) &&
          (!image || spec.images.some((each) => normalizeImage(each.image) === image)),
      );
      const page = pageOf(found, ({ metadata }) => `${metadata.namespace}/${metadata.name}`, query);
      return { ...page, items: page.items.map(taskView) };
    },
  });

  server.route({
    method: 'GET',
    url: '/tasks/:namespace/:name',
    schema: {
      operationId: 'getTask',
      summary: 'One task',
      params: TaskPath,
      response: { 200: ANSWER.task, '4xx': PROBLEM, '5xx': PROBLEM },
    },
    config: { demands: (request) => [onTasks('get', pathOf(request).namespace, pathOf(request).name)] },
    async handler({ params: { namespace, name } }) {
      const task = state.tasks.get(`${namespace}/${name}`);
      if (!task) throw noTask(namespace, name);
      return taskView(task);
    },
  });

  server.route({
    method: 'POST',
    url: '/tasks/:namespace/:name/cancel',
    schema: {
      operationId: 'cancelTask',
      summary: 'End the open work of a task, for good; doing it twice changes nothing more',
      params: TaskPath,
      response: { 200: ANSWER.task, '4xx': PROBLEM, '5xx': PROBLEM },
    },
    config: { demands: (request) => [onTasks('update', pathOf(request).namespace, pathOf(request).name)] },
    async handler({ params: { namespace, name }, caller }) {
      const cancelled = await state.cancelTask(namespace, name).catch((error: unknown) => {
        throw isNotFound(error) ? noTask(namespace, name) : error;
      });
      log.info({ user: caller?.username, namespace, task: name }, 'task cancelled through the API');
      return taskView(cancelled);
    },
  });

  server.route({
    method: 'GET',
    url: '/workloads',
    schema: {
      operationId: 'listWorkloads',
      summary: 'Workloads that own a task, and how warm they are',
      querystring: WorkloadQuery,
      response: { 200: ANSWER.workloads, '4xx': PROBLEM, '5xx': PROBLEM },
    },
    config: { demands: (request) => [onTasks('list', namespaceIn(request.query))] },
    async handler({ query }) {
      const found = workloadViews(tasksIn(state, query.namespace)).filter(
        ({ status }) => !query.status || status.phase === query.status,
      );
      return pageOf(
        found,
        ({ namespace, kind, name, apiVersion, task }) => [namespace, kind, name, apiVersion, task].join('/'),
        query,
      );
    },
  });

  server.route({
    method: 'GET',
    url: '/nodes',
    schema: {
      operationId: 'listNodes',
      summary: 'Nodes, and which images of tasks are on them',
      querystring: NodeQuery,
      response: { 200: ANSWER.nodes, '4xx': PROBLEM, '5xx': PROBLEM },
    },
    // Which images are wanted is told by tasks, not by nodes.
    config: { demands: (request) => [listNodes, onTasks('list', namespaceIn(request.query))] },
    async handler({ query }) {
      const page = pageOf(state.nodes.values(), ({ metadata }) => metadata.name ?? '', query);
      return { ...page, items: await nodeViews(page.items, tasksIn(state, query.namespace), state.presence) };
    },
  });

  server.route({
    method: 'GET',
    url: '/openapi.json',
    schema: { hide: true },
    config: { demands: () => [] },
    handler: async () => instance.swagger(),
  });

  finish();
}

async function authenticate(access: Access, header: string | undefined): Promise<Caller> {
  if (!header) throw unauthenticated('a token of Kubernetes is needed: Authorization: Bearer …', '');
  const [, token] = /^Bearer +([\w.~+/-]+=*)$/i.exec(header) ?? [];
  const known = token && token.length <= MAX_TOKEN_LENGTH ? await access.authenticate(token) : undefined;
  if (!known)
    throw unauthenticated(
      'the token is not one that Kubernetes knows, or has expired',
      ', error="invalid_token"',
    );
  return known;
}

function unauthenticated(detail: string, more: string): Problem {
  return new Problem(401, detail, { headers: { 'www-authenticate': `Bearer realm="ips"${more}` } });
}

function forbidden(caller: Caller, { verb, group, resource, namespace }: Demand): Problem {
  const what = group ? `${resource}.${group}` : resource;
  const everywhere = group ? ' in all namespaces; ask for one with ?namespace=NAME' : '';
  return new Problem(
    403,
    `${caller.username} may not ${verb} ${what}${namespace ? ` in namespace ${namespace}` : everywhere}`,
  );
}

function noTask(namespace: string, name: string): Problem {
  return new Problem(404, `there is no task ${name} in namespace ${namespace}`);
}

function tasksIn(state: State, namespace: string | undefined): PrewarmTask[] {
  const tasks = state.tasks.values();
  return namespace ? tasks.filter(({ metadata }) => metadata.namespace === namespace) : tasks;
}

function readImage(text: string): string {
  const image = normalizeImage(text);
  if (image) return image;
  const detail = 'is not an image reference';
  throw new Problem(400, `image: ${detail}`, { errors: [{ parameter: 'image', detail }] });
}
