import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Timings } from '../../compute/messages.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** When its body began to come, and when all of it was there or was no longer waited for, by performance.now(); 0: not yet. */
    receiveFrom: number;
    receiveTo: number;
  }
  interface FastifyReply {
    /** How long the stages took, as far as they were reached: all but `send` are in the server-timing header. */
    stages: Stages | undefined;
    /** When its head was ready to be sent, by performance.now(); 0: not yet. */
    sendFrom: number;
  }
}

/**
 * Where the time of a request goes, in milliseconds: until its body is there, in the workers, and until its answer is taken. The
 * first and the last depend on the client and the network more than on the service.
 */
export interface Stages extends Partial<Timings> {
  receive?: number;
  send?: number;
}

export const STAGES: readonly (keyof Stages)[] = ['receive', 'queue', 'decode', 'compute', 'encode', 'store', 'send'];

/** The first stage, of a body that still comes until now. */
export function received({ receiveFrom, receiveTo }: FastifyRequest): Stages {
  return { receive: receiveFrom === 0 ? 0 : (receiveTo || performance.now()) - receiveFrom };
}

/** To be called when the answer has been taken, or its client has left. */
export function endStages(request: FastifyRequest, reply: FastifyReply): void {
  if (request.receiveFrom > 0) reply.stages ??= received(request);
  if (reply.stages && reply.sendFrom > 0) reply.stages.send = performance.now() - reply.sendFrom;
}
