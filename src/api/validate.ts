import type { FastifySchemaCompiler, FastifyTypeProvider } from 'fastify';
import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';

/** A route's schema is also the type of what its handler gets. */
export interface SchemaTypes extends FastifyTypeProvider {
  validator: this['schema'] extends TSchema ? Static<this['schema']> : unknown;
  serializer: this['schema'] extends TSchema ? Static<this['schema']> : unknown;
}

type Fields = { properties?: Record<string, { type?: string }> };

/** Nothing is coerced, added or left out, but for the numbers of a query, which come as text. */
export const compileSchema: FastifySchemaCompiler<TSchema & Fields> = ({ schema, httpPart }) => {
  const check = Compile(schema);
  return (given: unknown) => {
    const value = httpPart === 'querystring' ? withNumbers(schema, given as Record<string, unknown>) : given;
    return check.Check(value) ? { value } : { error: check.Errors(value) as never };
  };
};

function withNumbers({ properties = {} }: Fields, query: Record<string, unknown>): Record<string, unknown> {
  const read = ([name, value]: [string, unknown]): [string, unknown] => {
    const wanted = Object.hasOwn(properties, name) && properties[name]?.type === 'integer';
    return [
      name,
      wanted && /^\d{1,9}$/.test(String(value)) && typeof value === 'string' ? Number(value) : value,
    ];
  };
  return Object.fromEntries(Object.entries(query).map(read));
}
