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
import { type Codec, type Method, encodeAnswer, services } from '../../wire/index.ts';
import type { Handler, Rpc } from './rpc.ts';
import { statusOf } from './status.ts';

export interface GrpcLimits {
  /** Bytes. */
  readonly maxReceive: number;
  readonly maxSend: number;
}

type Services = typeof services;
type MethodsOf<S> = { readonly [M in keyof S]?: S[M] extends Method<infer I, infer O> ? Handler<I, O> : never };
export type CriHandlers = { readonly [S in keyof Services]: MethodsOf<Services[S]> };

/**
 * CRI over gRPC. Every method of the API is registered; one without a handler answers UNIMPLEMENTED with its name.
 * Requests are decoded here, not by the library, so that malformed bytes are InvalidArgument.
 */
export class CriServer {
  readonly #server: Server;
  readonly #log: Logger;
  readonly #injector: ConnectionInjector;

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

  /** Lets running calls end for at most so long, then cuts them off. */
  async stop(graceMs: number): Promise<void> {
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
      const handler = (handlers as Readonly<Record<string, AnyHandler | undefined>>)[name];
      implementation[name] = method.responseStream ? refuseStream(name) : this.#unary(name, method, handler);
    }
    this.#server.addService(definition as never, implementation as never);
  }

  #unary(name: string, method: AnyMethod, handler: AnyHandler | undefined) {
    return (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void => {
      if (handler === undefined) {
        reply(statusOf(unimplemented(name)));
        return;
      }
      void this.#answer(name, method, handler, call).then(
        (answer) => reply(null, answer),
        (error: unknown) => reply(statusOf(error)),
      );
    };
  }

  async #answer(name: string, method: AnyMethod, handler: AnyHandler, call: ServerUnaryCall<Buffer, Buffer>): Promise<Buffer> {
    const log = this.#log.with({ id: randomUUID(), name: method.path });
    const { rpc, done } = beginRpc(name, call, log);
    try {
      const request = method.request.decode(call.request);
      if (log.enabled('debug')) log.debug(`Request: ${name}`);
      return encodeAnswer(method.response, await handler(request, rpc));
    } catch (error) {
      log.debug(`Response error: ${textOf(error)}`);
      throw error;
    } finally {
      done();
    }
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
type AnyHandler = (request: unknown, rpc: Rpc) => Promise<never>;

const same = (bytes: Buffer): Buffer => bytes;

/** grpc-go's text for a method that a server does not know [D2]. */
function unimplemented(name: string): Failure {
  return new Failure('Unimplemented', `unknown method ${name} for service runtime.v1: this version of crio does not serve it`);
}

function refuseStream(name: string) {
  return (call: ServerWritableStream<Buffer, Buffer>): void => {
    const { code, details } = statusOf(unimplemented(name));
    call.emit('error', { code, details });
  };
}

/** One signal per call, linked by hand and let go at its end: AbortSignal.any keeps memory for every request. */
function beginRpc(method: string, call: ServerUnaryCall<Buffer, Buffer>, log: Logger): { rpc: Rpc; done: () => void } {
  const gone = new AbortController();
  const deadline = deadlineOf(call);
  const secondsLeft = () => (deadline === undefined ? undefined : (deadline - Date.now()) / 1000);
  const onCancelled = () => {
    const late = deadline !== undefined && Date.now() >= deadline;
    gone.abort(late ? new Failure('DeadlineExceeded', 'context deadline exceeded') : new Failure('Canceled', 'context canceled'));
  };
  call.once('cancelled', onCancelled);
  return { rpc: { method, signal: gone.signal, secondsLeft, log }, done: () => void call.off('cancelled', onCancelled) };
}

/** Milliseconds since the epoch; undefined for a call without deadline. */
function deadlineOf(call: ServerUnaryCall<Buffer, Buffer>): number | undefined {
  const deadline = call.getDeadline();
  const at = deadline instanceof Date ? deadline.getTime() : deadline;
  return Number.isFinite(at) ? at : undefined;
}
