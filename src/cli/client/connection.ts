/** Calls CRI methods on a unix socket, and turns gRPC's errors into Failures that say what to do. */
import { connect } from 'node:net';
import { Client, type ServiceError, credentials, status } from '@grpc/grpc-js';
import { Failure, type FailureKind, codeOf } from '../../errors/index.ts';
import type { MessageInput, Method } from '../../wire/index.ts';

/** For calls that are not told otherwise: above everything that the daemon itself allows a step of a pod to take. */
const DEFAULT_DEADLINE_MS = 300_000;
/** Lists and outputs of ExecSync; grpc-js stops at 4 MiB by itself. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

const KINDS: ReadonlyMap<number, FailureKind> = new Map([
  [status.CANCELLED, 'Canceled'],
  [status.INVALID_ARGUMENT, 'InvalidArgument'],
  [status.DEADLINE_EXCEEDED, 'DeadlineExceeded'],
  [status.NOT_FOUND, 'NotFound'],
  [status.ALREADY_EXISTS, 'AlreadyExists'],
  [status.PERMISSION_DENIED, 'PermissionDenied'],
  [status.RESOURCE_EXHAUSTED, 'ResourceExhausted'],
  [status.FAILED_PRECONDITION, 'FailedPrecondition'],
  [status.UNIMPLEMENTED, 'Unimplemented'],
  [status.INTERNAL, 'Internal'],
  [status.UNAVAILABLE, 'Unavailable'],
]);

export interface CallOptions {
  /** 0: none. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

export class CriConnection implements Disposable {
  readonly socket: string;
  readonly #client: Client;

  /** Connects with the first call. */
  constructor(socket: string) {
    this.socket = socket;
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure(), {
      'grpc.enable_retries': 0,
      'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  /** One call of a method without streams. Failure: of the kind that the daemon answered, with its text. */
  async call<I, O>(method: Method<I, O>, request: MessageInput<I>, options: CallOptions = {}): Promise<O> {
    const deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
    options.signal?.throwIfAborted();
    try {
      return await this.#unary(method, request, deadlineMs, options.signal);
    } catch (error) {
      throw await this.#explain(error);
    }
  }

  #unary<I, O>(method: Method<I, O>, request: MessageInput<I>, deadlineMs: number, signal: AbortSignal | undefined): Promise<O> {
    const { promise, resolve, reject } = Promise.withResolvers<O>();
    const call = this.#client.makeUnaryRequest<MessageInput<I>, O>(
      method.path,
      (message) => method.request.encode(message),
      (bytes) => method.response.decode(bytes),
      request,
      deadlineMs === 0 ? {} : { deadline: Date.now() + deadlineMs },
      (error, answer) => {
        if (error !== null) reject(error);
        else if (answer === undefined) reject(new Failure('Internal', `${method.path}: no answer`));
        else resolve(answer);
      },
    );
    const cancel = (): void => call.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    return promise.finally(() => signal?.removeEventListener('abort', cancel));
  }

  async #explain(error: unknown): Promise<Failure> {
    if (!isServiceError(error)) return error instanceof Failure ? error : new Failure('Internal', String(error), { cause: error });
    if (error.code === status.UNAVAILABLE) return await diagnose(this.socket, error);
    const kind = KINDS.get(error.code) ?? 'Unknown';
    const advice = kind === 'Unimplemented' ? `The runtime behind ${this.socket} does not offer this.` : undefined;
    return new Failure(kind, error.details || error.message, { cause: error, ...(advice === undefined ? {} : { advice }) });
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return (
    error instanceof Error && 'code' in error && typeof error.code === 'number' && 'details' in error && typeof error.details === 'string'
  );
}

/** grpc-js tells why a connection failed only in prose, so the socket itself is asked. */
async function diagnose(socket: string, cause: ServiceError): Promise<Failure> {
  const errno = await connectError(socket);
  switch (errno) {
    case undefined:
      return new Failure('Unavailable', `${socket} answers, but does not speak CRI (gRPC): ${cause.details}`, {
        cause,
        advice:
          'Is it the socket of another program? Choose another one with --socket. If it is the right one, the daemon may just be starting or stopping.',
      });
    case 'ENOENT':
      return new Failure('Unavailable', `there is no socket ${socket}`, {
        cause,
        code: errno,
        advice: 'Start the daemon (systemctl start crio, or crio as root), or name its socket with --socket.',
      });
    case 'ECONNREFUSED':
      return new Failure('Unavailable', `nobody listens on ${socket}`, {
        cause,
        code: errno,
        advice: 'The daemon has ended: start it (systemctl start crio, or crio as root).',
      });
    case 'EACCES':
    case 'EPERM':
      return new Failure('PermissionDenied', `no permission to use ${socket}`, { cause, code: errno, advice: 'Run this command as root.' });
    default:
      return new Failure('Unavailable', `cannot connect to ${socket}: ${errno}`, { cause, code: errno });
  }
}

/** The errno name with which connecting fails; undefined if somebody answers. */
function connectError(path: string): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = connect(path);
  socket.once('connect', () => resolve(undefined));
  socket.once('error', (error) => resolve(codeOf(error) ?? 'unknown error'));
  return promise.finally(() => socket.destroy());
}
