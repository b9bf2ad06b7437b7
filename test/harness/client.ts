import { type ClientReadableStream, Client, Metadata, type ServiceError, credentials } from '@grpc/grpc-js';
import { type MessageInput, type Method, type StreamMethod, services } from '../../src/wire/index.ts';

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
/** grpc-js' stream, with the type of its messages where Node's own has none. */
export type MessageStream<O> = { toArray(): Promise<O[]> } & ClientReadableStream<O>;
type Caller<M> =
  M extends StreamMethod<infer I, infer O>
    ? (request?: MessageInput<I>, options?: CallOptions) => MessageStream<O>
    : M extends Method<infer I, infer O>
      ? (request?: MessageInput<I>, options?: CallOptions) => Promise<O>
      : never;
type CallersOf<S> = { readonly [K in keyof S]: Caller<S[K]> };

/**
 * A function for each RPC of CRI v1, by its name: `await client.RunPodSandbox({ config })`,
 * `for await (const event of client.GetContainerEvents())`.
 */
export type CriClient = CallersOf<typeof services.RuntimeService> & CallersOf<typeof services.ImageService> & { close(): void };

/** Speaks CRI to a socket: ours or another's. A failed call rejects with grpc-js' ServiceError. */
export function connectCri(socket: string): CriClient {
  const channel = new Client(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
    'grpc.use_local_subchannel_pool': 1, // A connection of its own: what one client does not read holds up no other.
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
  });
  const streams = new Set<ClientReadableStream<unknown>>();
  const close = () => {
    for (const stream of streams) stream.on('error', () => {}).cancel(); // They would outlive the channel.
    channel.close();
  };
  const callers: Record<string, unknown> = { close };
  const methods: readonly Readonly<Record<string, AnyMethod>>[] = [services.RuntimeService, services.ImageService];
  for (const [name, method] of methods.flatMap((service) => Object.entries(service))) {
    callers[name] = method.responseStream ? streamer(channel, method, streams) : caller(channel, method);
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

/** Whoever does not read lets messages wait on the server's side; a failed call is an error of the stream. */
function streamer(channel: Client, method: AnyMethod, open: Set<ClientReadableStream<unknown>>) {
  return (request: never, options: CallOptions = {}): ClientReadableStream<unknown> => {
    const stream = channel.makeServerStreamRequest(
      method.path,
      (message: Buffer) => message,
      (bytes) => method.response.decode(bytes),
      method.request.encode(request ?? ({} as never)),
      new Metadata({ waitForReady: true }),
      options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs },
    );
    open.add(stream);
    stream.once('close', () => open.delete(stream));
    options.signal?.addEventListener('abort', () => stream.cancel(), { once: true });
    return stream;
  };
}
