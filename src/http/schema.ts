import Type, { type TSchema } from 'typebox';
import { type GroupMember, type Member, symbolicShape, type TensorMember } from '../tensor/signature.js';

/** A reference to a schema that is registered with the app under its name. */
export function ref(name: string): TSchema {
  return Type.Unsafe({ $ref: `${name}#` });
}

/** The schema of a group, named; groups inside it are referred to. Collects every group it meets into `found`. */
export function groupSchema(group: GroupMember, found: Map<string, TSchema>): TSchema {
  const known = found.get(group.name);
  if (known) return known;
  const properties = Object.fromEntries(
    Object.entries(group.members).map(([name, member]) => {
      const schema = memberSchema(member, found);
      return [name, member.optional ? Type.Optional(schema) : schema];
    }),
  );
  const schema = Type.Object(properties, {
    $id: group.name,
    description: group.description,
    additionalProperties: false,
  });
  found.set(group.name, schema);
  return schema;
}

function memberSchema(member: Member, found: Map<string, TSchema>): TSchema {
  switch (member.kind) {
    case 'tensor':
      return tensorSchema(member);
    case 'group':
      groupSchema(member, found);
      return ref(member.name);
    case 'choice': {
      const { choices, otherwise, description } = member;
      return Type.Enum([...choices], { type: 'string', default: otherwise, description });
    }
    case 'text': {
      const { longest, format, description } = member;
      return Type.String(format ? { format, description } : { maxLength: longest, description });
    }
    case 'integer':
      return Type.Integer({ minimum: member.minimum, description: member.description });
  }
}

/** Nested arrays, one level an axis. */
function tensorSchema(member: TensorMember): TSchema {
  let schema: TSchema = Type.Number();
  member.dims.forEach((_, axis) => {
    const outermost = axis === member.dims.length - 1;
    const description = `${member.description}; shape ${symbolicShape(member)}`;
    schema = Type.Array(schema, outermost ? { minItems: 1, description } : { minItems: 1 });
  });
  return schema;
}
