import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** What can stand in a header and a log line as it is. */
export const REQUEST_ID = /^[\w.:+/=-]{1,128}$/;

/** The caller's id where it is well-formed, or a new one. */
export function requestId({ 'x-request-id': id }: IncomingHttpHeaders): string {
  return typeof id === 'string' && REQUEST_ID.test(id) ? id : randomUUID();
}
