import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** What stays the same for as long as the service runs, with a tag by which a client knows that it has it. */
export interface Tagged {
  readonly type: string;
  readonly bytes: Buffer;
  /** A weak one, since the bytes may be compressed on their way. */
  readonly etag: string;
}

export function tagged(type: string, content: string | Buffer): Tagged {
  const bytes = Buffer.from(content);
  return { type, bytes, etag: `W/"${createHash('sha256').update(bytes).digest('base64url')}"` };
}

/** Sends it, or 304 to a client that has it. */
export function sendTagged(request: FastifyRequest, reply: FastifyReply, { type, bytes, etag }: Tagged): FastifyReply {
  reply.headers({ etag, 'cache-control': 'no-cache' });
  if (isKnown(request.headers['if-none-match'], etag)) return reply.code(304).send();
  return reply.type(`${type}; charset=utf-8`).send(bytes);
}

/** By RFC 9110 (13.1.2): one of a list, compared weakly, or any. */
function isKnown(header = '', etag: string): boolean {
  const tags = header.split(',').map((tag) => tag.trim());
  return tags.some((tag) => tag === '*' || tag.replace(/^(W\/)?/, 'W/') === etag);
}
