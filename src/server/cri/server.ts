import {
  type ConnectionInjector,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { Failure, textOf } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';
import { orAborted } from '../../sync/index.ts';
import { type Codec, type Method, type StreamMethod, encodeAnswer, services } from '../../wire/index.ts';
import { type Call, openCall } from './call.ts';
import type { Handler, Rpc, StreamHandler } from './rpc.ts';
import { statusOf } from './status.ts';

export interface GrpcLimits {
  /** Bytes. */
  readonly maxReceive: number;
  readonly maxSend: number;
}

type Services = typeof services;
type HandlerOf<M> =
  M extends StreamMethod<infer I, infer O> ? StreamHandler<I, O> : M extends Method<infer I, infer O> ? Handler<I, O> : never;
type MethodsOf<S> = { readonly [M in keyof S]?: HandlerOf<S[M]> };
export type CriHandlers = { readonly [S in keyof Services]: MethodsOf<Services[S]> };

/**
 * CRI over gRPC. Every method of the API is registered; one without a handler answers UNIMPLEMENTED with its name.
 * Requests are decoded here, not by the library, so that malformed bytes are InvalidArgument.
 */
export class CriServer {
  readonly #server: Server;
  readonly #log: Logger;
  readonly #injector: ConnectionInjector;
  /** Ends a stream that runs: some have no end of their own. */
  readonly #streams = new Set<(reason: Failure) => void>();

  constructor(handlers: CriHandlers, limits: GrpcLimits, log: Logger) {
    this.#log = log;
    this.#server = new Server({ 'grpc.max_receive_message_length': limits.maxReceive, 'grpc.max_send_message_length': limits.maxSend });
    for (const [service, methods] of Object.entries(services)) {
      this.#register(methods, handlers[service as keyof Services]);
    }
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  /** Serves one HTTP/2 connection; the bytes that were looked at are back in the socket. */
  serve(socket: Socket): void {
    this.#injector.injectConnection(socket);
  }

  /** Ends streams, lets running calls end for at most so long, then cuts them off. */
  async stop(graceMs: number): Promise<void> {
    for (const end of this.#streams) end(new Failure('Unavailable', 'crio is stopping'));
    this.#injector.drain(graceMs);
    const closed = Promise.withResolvers<void>();
    const timer = setTimeout(() => this.#server.forceShutdown(), graceMs);
    this.#server.tryShutdown(() => closed.resolve());
    await closed.promise;
    clearTimeout(timer);
    this.#injector.destroy();
  }

  #register(methods: Readonly<Record<string, AnyMethod>>, handlers: object): void {
    const definition: Record<string, unknown> = {};
    const implementation: Record<string, unknown> = {};
    for (const [name, method] of Object.entries(methods)) {
      const bytes = { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
      definition[name] = { path: method.path, requestStream: method.requestStream, responseStream: method.responseStream, ...bytes };
      const handler = (handlers as Readonly<Record<string, unknown>>)[name] ?? unimplemented(name);
      implementation[name] = method.responseStream
        ? this.#stream(name, method, handler as StreamHandler<unknown, never>)
        : this.#unary(name, method, handler as Handler<unknown, never>);
    }
    this.#server.addService(definition as never, implementation as never);
  }

  #unary(name: string, method: AnyMethod, handler: Handler<unknown, never>) {
    return (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void => {
      void this.#logged(method, call, async (log) => {
        const { rpc, done } = openCall(name, call, log);
        try {
          const answer = await handler(method.request.decode(call.request), rpc);
          return encodeAnswer(method.response, answer);
        } finally {
          done();
        }
      }).then(
        (answer) => reply(null, answer),
        (error: unknown) => reply(statusOf(error)),
      );
    };
  }

  #stream(name: string, method: AnyMethod, handler: StreamHandler<unknown, never>) {
    return (call: ServerWritableStream<Buffer, Buffer>): void => {
      void this.#logged(method, call, async (log) => {
        const { rpc, abort, done } = openCall(name, call, log);
        this.#streams.add(abort);
        try {
          for await (const answer of handler(method.request.decode(call.request), rpc)) {
            await orAborted(written(call, encodeAnswer(method.response, answer)), rpc.signal);
          }
        } finally {
          this.#streams.delete(abort);
          done();
        }
      }).then(
        () => call.end(),
        (error: unknown) => call.emit('error', statusOf(error)),
      );
    };
  }

  /** Whatever is logged on behalf of the call carries its id and its method [C53, D14]; contents are never logged [C55]. */
  async #logged<T>(method: AnyMethod, call: Call, work: (log: Logger) => Promise<T>): Promise<T> {
    const log = this.#log;
    return await log.within({ id: randomUUID(), name: method.path }, async () => {
      const began = performance.now();
      const took = () => `${(performance.now() - began).toFixed(1)} ms`;
      if (log.enabled('debug')) log.debug(`Request: ${method.request.name}, ${call.request.length} bytes`);
      try {
        const answer = await work(log);
        if (log.enabled('debug')) log.debug(`Response: ${method.response.name} after ${took()}`);
        return answer;
      } catch (error) {
        if (log.enabled('debug')) log.debug(`Response error after ${took()}: ${textOf(error)}`);
        throw error;
      }
    });
  }
}

/** A method with its types forgotten: the table of services is walked by name. */
interface AnyMethod {
  readonly path: string;
  readonly request: Codec<unknown>;
  readonly response: Codec<unknown>;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

const same = (bytes: Buffer): Buffer => bytes;

/** grpc-go's text for a method that a server does not know [D2]. Serves unary methods and streams alike. */
function unimplemented(name: string): (request: unknown, rpc: Rpc) => never {
  return () => {
    throw new Failure('Unimplemented', `unknown method ${name} for service runtime.v1: this version of crio does not serve it`);
  };
}

/** Settles when the client's window has taken the message. */
async function written(call: ServerWritableStream<Buffer, Buffer>, message: Buffer): Promise<void> {
  await new Promise<void>((resolve) => call.write(message, () => resolve()));
}
