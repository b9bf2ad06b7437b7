import { Client, Metadata, type ServiceError, credentials } from '@grpc/grpc-js';
import { type MessageInput, type Method, services } from '../../src/wire/index.ts';

export interface CallOptions {
  /** Milliseconds; default half a minute. */
  readonly timeoutMs?: number;
  /** Cancels the call on the client's side. */
  readonly signal?: AbortSignal;
}

/** What any method has, whatever its messages are. */
interface AnyMethod {
  readonly path: string;
  readonly request: { encode(message: never): Buffer };
  readonly response: { decode(bytes: Uint8Array): unknown };
  readonly responseStream: boolean;
}
type Caller<M> = M extends Method<infer I, infer O> ? (request?: MessageInput<I>, options?: CallOptions) => Promise<O> : never;
type CallersOf<S> = { readonly [K in keyof S]: Caller<S[K]> };

/** A function for each unary RPC of CRI v1, by its name: `client.RunPodSandbox({ config })`. */
export type CriClient = CallersOf<typeof services.RuntimeService> & CallersOf<typeof services.ImageService> & { close(): void };

/** Speaks CRI to a socket: ours or another's. A failed call rejects with grpc-js' ServiceError. */
export function connectCri(socket: string): CriClient {
  const channel = new Client(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
  });
  const callers: Record<string, unknown> = { close: () => channel.close() };
  const methods: readonly Readonly<Record<string, AnyMethod>>[] = [services.RuntimeService, services.ImageService];
  for (const [name, method] of methods.flatMap((service) => Object.entries(service))) {
    if (!method.responseStream) callers[name] = caller(channel, method);
  }
  return callers as CriClient;
}

function caller(channel: Client, method: AnyMethod) {
  return async (request: never, options: CallOptions = {}): Promise<unknown> => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const deadline = Date.now() + (options.timeoutMs ?? 30_000);
    const call = channel.makeUnaryRequest(
      method.path,
      (message: Buffer) => message,
      (bytes) => method.response.decode(bytes),
      method.request.encode(request ?? ({} as never)),
      new Metadata({ waitForReady: true }),
      { deadline },
      (error: ServiceError | null, answer?: unknown) => (error === null ? resolve(answer) : reject(error)),
    );
    const cancel = () => call.cancel();
    options.signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await promise;
    } finally {
      options.signal?.removeEventListener('abort', cancel);
    }
  };
}
