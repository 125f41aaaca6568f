import Type, { type TSchema } from 'typebox';
import { operations } from '../../operations/operations.js';
import { type GroupMember, type Member, symbolicShape, type TensorMember } from '../../tensor/signature.js';

/** A reference to a schema that is registered with the app under its name. */
export function ref(name: string): TSchema {
  return Type.Unsafe({ $ref: `${name}#` });
}

/** Where a group is: a part of an answer can be part of a request, too, as the caches and the parameters in them are. */
type Place = 'request' | 'answer' | 'part of an answer';

/**
 * The schema of a group, named; groups and choices inside it are referred to. Collects every one it meets into `found`.
 *
 * Requests refuse members that they do not know. Answers may get further ones, which must not break the clients that exist.
 */
export function groupSchema(group: GroupMember, found: Map<string, TSchema>, place: Place): TSchema {
  const known = found.get(group.name);
  if (known) return known;
  const properties = Object.fromEntries(
    Object.entries(group.members).map(([name, member]) => {
      const schema = memberSchema(member, found, place);
      return [name, member.optional ? Type.Optional(schema) : schema];
    }),
  );
  const schema = Type.Object(properties, {
    $id: group.name,
    description: group.description,
    ...(place === 'request' && { additionalProperties: false }),
  });
  found.set(group.name, schema);
  return schema;
}

function memberSchema(member: Member, found: Map<string, TSchema>, place: Place): TSchema {
  const schema = valueSchema(member, found, place);
  if (!member.optional || place === 'answer') return schema;
  if (!('$ref' in schema)) return { ...schema, nullable: true };
  // What stands beside a reference does not count, and without a type nothing is nullable.
  return Type.Unsafe({ type: member.kind === 'group' ? 'object' : 'string', nullable: true, allOf: [schema] });
}

function valueSchema(member: Member, found: Map<string, TSchema>, place: Place): TSchema {
  switch (member.kind) {
    case 'tensor':
      return tensorSchema(member);
    case 'group':
      groupSchema(member, found, place === 'answer' && isInRequests(member) ? 'part of an answer' : place);
      return ref(member.name);
    case 'choice': {
      // Without a default, which makes an optional member required in some generated clients.
      const { name, choices, description } = member;
      found.set(name, Type.Enum([...choices], { $id: name, type: 'string', description }));
      return ref(name);
    }
    case 'text': {
      const { longest, format, description } = member;
      return Type.String(format ? { format, description } : { maxLength: longest, description });
    }
    case 'names':
      return Type.Array(Type.String(), { description: member.description });
    case 'number':
      return Type.Number({ format: 'double', minimum: member.above, description: member.description });
    case 'integer':
      return Type.Integer({ format: 'int32', minimum: member.minimum, description: member.description });
  }
}

/** Can a group be part of a request, too? */
function isInRequests({ name }: GroupMember): boolean {
  return operations.some(({ request }) => groupsIn(request).includes(name));
}

function groupsIn({ members }: GroupMember): string[] {
  return Object.values(members).flatMap((member) =>
    member.kind === 'group' ? [member.name, ...groupsIn(member)] : [],
  );
}

/**
 * Nested arrays, one level an axis: of what it consists of, most levels are the same for all tensors, and have a name. None may be
 * empty, which is not said: `minItems` becomes a tuple in some generated clients.
 */
function tensorSchema(member: TensorMember): TSchema {
  const { axes, numbers, or, description } = member;
  const shapes = [member, ...(or ? [or] : [])].map(symbolicShape).join(' or ');
  const said = { description: axes.length === 0 ? description : `${shapes}: ${description}` };
  if (or) return { ...nested(Math.min(axes.length, or.axes.length), {}), ...said };
  if (numbers === 'whole') return { ...nested(axes.length, Type.Integer({ format: 'int32' })), ...said };
  const inner = [Type.Number({ format: 'double' }), ref('Vector'), ref('Matrix')];
  if (axes.length === 0) return { ...inner[0], ...said };
  const known = Math.min(axes.length, inner.length) - 1;
  return { ...nested(axes.length - known, inner[known]), ...said };
}

function nested(levels: number, schema: TSchema): TSchema {
  return levels === 0 ? schema : Type.Array(nested(levels - 1, schema));
}

/** What tensors consist of. */
export const tensorSchemas: readonly TSchema[] = [
  Type.Array(Type.Number({ format: 'double' }), { $id: 'Vector', description: 'the last axis of a tensor' }),
  Type.Array(ref('Vector'), { $id: 'Matrix', description: 'the last two axes of a tensor' }),
];
