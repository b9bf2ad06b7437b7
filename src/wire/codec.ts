/** The types of the generated codecs and the few operations that work on any of them. */
import { Reader } from './reader.ts';
import { Writer } from './writer.ts';

/**
 * What may be given where a message is encoded: any part of it may be left out (its default is meant), and nothing of
 * it is changed.
 */
export type MessageInput<T> = T extends string | number | bigint | boolean | Uint8Array | undefined
  ? T
  : T extends ReadonlyMap<string, string>
    ? ReadonlyMap<string, string>
    : T extends readonly (infer E)[]
      ? readonly MessageInput<E>[]
      : { readonly [K in keyof T]?: MessageInput<T[K]> | undefined };

/** A number of an enum; numbers that this version has no name for stay what they are. */
export type EnumNumber<T> = T[keyof T] | (number & {});

/**
 * Turns one type of message into bytes and back. Decoded messages are complete: scalars, lists and maps that were not
 * sent have their defaults, messages that were not sent are undefined.
 */
export interface Codec<T> {
  /** The message's name without its package, `PodSandboxConfig`. */
  readonly name: string;
  encode(message: MessageInput<T>): Buffer;
  /** Throws a Failure of kind InvalidArgument, and nothing else, whatever the bytes are. */
  decode(bytes: Uint8Array): T;
  /** A complete message of its own (a deep copy) from a partial one. */
  create(partial?: MessageInput<T>): T;
}

/** One method of a gRPC service. */
export interface Method<I, O> {
  /** `/runtime.v1.RuntimeService/Version` */
  readonly path: string;
  readonly request: Codec<I>;
  readonly response: Codec<O>;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/** A method that answers with any number of messages. */
export interface StreamMethod<I, O> extends Method<I, O> {
  readonly responseStream: true;
}

/** For generated code: the codec of one message from its three functions. */
export function codec<T>(
  name: string,
  make: () => T,
  write: (writer: Writer, message: MessageInput<T>) => void,
  read: (reader: Reader, end: number, into: T) => T,
): Codec<T> {
  const encode = (message: MessageInput<T>): Buffer => {
    const writer = new Writer();
    write(writer, message);
    return writer.finish();
  };
  const decode = (bytes: Uint8Array): T => {
    const reader = new Reader(bytes);
    return read(reader, reader.length, make());
  };
  return { name, encode, decode, create: (partial) => (partial === undefined ? make() : decode(encode(partial))) };
}

/**
 * One element of a repeated message field, with tag and length, in memory of its own (it may be kept for long). The
 * encoding of a message that has nothing but such elements is their concatenation.
 */
export function encodeRepeatedEntry<T>(fieldNumber: number, entry: Codec<T>, message: MessageInput<T>): Buffer {
  const writer = new Writer();
  writer.bytes((fieldNumber << 3) | 2, entry.encode(message));
  const bytes = writer.finish();
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}

/** What a handler may answer with: a message, or its encoding made earlier. */
export type Answer<T> = MessageInput<T> | Uint8Array;

/** The bytes of an answer. No message of CRI is itself a byte array, so the two cannot be confused. */
export function encodeAnswer<T>(answerCodec: Codec<T>, answer: Answer<T>): Buffer {
  if (!(answer instanceof Uint8Array)) return answerCodec.encode(answer);
  return Buffer.isBuffer(answer) ? answer : Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
}
