import { connect, type Socket } from 'node:net';
import { Failure, textOf, wrap } from '../../errors/index.ts';
import { Reader, type Value, Writer, textValue, typesOf } from './wire.ts';

const TYPE = { call: 1, reply: 2, error: 3, signal: 4 } as const;
const FIELD = { path: 1, interface: 2, member: 3, error: 4, replySerial: 5, destination: 6, signature: 8 } as const;
const FIELD_TYPE: Readonly<Record<number, string>> = { 1: 'o', 2: 's', 3: 's', 4: 's', 5: 'u', 6: 's', 8: 'g' };
const FIXED_HEADER = 16;
/** The specification's own limit. */
const MOST_BYTES = 128 * 1024 * 1024;
const CALL_TIMEOUT_MS = 25_000;

export interface Call {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly args?: readonly Value[];
}

export interface Signal {
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly args: readonly Value[];
}

/**
 * One connection to a message bus, of our own. An error that the peer answers is a Failure with its D-Bus name as code; a connection
 * that ends, or a call without an answer for 25 s, is Unavailable and ends the connection: make a new one.
 */
export class Bus {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, { resolve(args: Value[]): void; reject(error: unknown): void }>();
  readonly #onSignal: (signal: Signal) => void;
  readonly #ended = Promise.withResolvers<void>();
  #serial = 1;
  #buffer: Buffer = Buffer.alloc(0);
  #isOpen = true;

  private constructor(socket: Socket, onSignal: (signal: Signal) => void) {
    this.#socket = socket;
    this.#onSignal = onSignal;
  }

  /** Connects to a unix socket, authenticates as who we are and says hello. */
  static async connect(path: string, onSignal: (signal: Signal) => void): Promise<Bus> {
    const socket = connect(path);
    const bus = new Bus(socket, onSignal);
    try {
      await bus.#authenticate();
      socket.on('data', (chunk: Buffer) => bus.#receive(chunk));
      await bus.call({ destination: DBUS.name, path: DBUS.path, interface: DBUS.name, member: 'Hello' });
      return bus;
    } catch (error) {
      socket.destroy();
      throw wrap(`connecting to the message bus ${path}`, error, 'Unavailable');
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Settles when the connection has ended, whoever ended it. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Lets the bus send us the signals of that rule. */
  async match(rule: string): Promise<void> {
    const args = { signature: 's', args: [rule] };
    await this.call({ destination: DBUS.name, path: DBUS.path, interface: DBUS.name, member: 'AddMatch', ...args });
  }

  async call(call: Call): Promise<Value[]> {
    if (!this.#isOpen) throw new Failure('Unavailable', 'the connection to the message bus has ended');
    const serial = this.#serial++;
    const { promise, resolve, reject } = Promise.withResolvers<Value[]>();
    this.#waiting.set(serial, { resolve, reject });
    const timer = setTimeout(() => {
      this.#socket.destroy(new Failure('Unavailable', `${call.destination} did not answer ${call.member} within ${CALL_TIMEOUT_MS} ms`));
    }, CALL_TIMEOUT_MS);
    this.#socket.write(encodeCall(call, serial));
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(serial);
    }
  }

  async #authenticate(): Promise<void> {
    const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let text = '';
    const onData = (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (!text.includes('\r\n') && text.length < 1024) return;
      if (text.startsWith('OK ')) resolve();
      else reject(new Failure('Unavailable', `the message bus refuses us: ${JSON.stringify(text)}`));
    };
    this.#socket.on('data', onData);
    let why: unknown;
    this.#socket.on('error', (error) => (why = error));
    this.#socket.on('close', () => {
      this.#isOpen = false;
      const error = why ?? new Failure('Unavailable', 'the message bus closed the connection');
      reject(error);
      for (const waiting of this.#waiting.values()) waiting.reject(unavailable(error));
      this.#ended.resolve();
    });
    const timer = setTimeout(() => this.#socket.destroy(new Failure('Unavailable', 'no answer')), CALL_TIMEOUT_MS);
    this.#socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#socket.off('data', onData);
    }
    this.#socket.write('BEGIN\r\n');
  }

  #receive(chunk: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    try {
      for (let size = sizeOf(this.#buffer); size !== undefined && this.#buffer.length >= size; size = sizeOf(this.#buffer)) {
        const message = this.#buffer.subarray(0, size);
        this.#buffer = this.#buffer.subarray(size);
        this.#deliver(message);
      }
    } catch (error) {
      this.#socket.destroy(new Failure('Unavailable', `the message bus sent no D-Bus message: ${textOf(error)}`, { cause: error }));
    }
  }

  #deliver(bytes: Buffer): void {
    const { type, fields, args } = decode(bytes);
    const text = (field: number) => textValue(fields.get(field));
    if (type === TYPE.signal) {
      this.#onSignal({ path: text(FIELD.path), interface: text(FIELD.interface), member: text(FIELD.member), args });
      return;
    }
    const waiting = this.#waiting.get(Number(fields.get(FIELD.replySerial) ?? 0));
    if (type === TYPE.reply) waiting?.resolve(args);
    if (type === TYPE.error) {
      const name = text(FIELD.error);
      waiting?.reject(new Failure('Unknown', typeof args[0] === 'string' ? args[0] : name, { code: name }));
    }
  }
}

const DBUS = { name: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus' } as const;

function unavailable(error: unknown): Failure {
  return new Failure('Unavailable', textOf(error), { cause: error });
}

function encodeCall(call: Call, serial: number): Buffer {
  const body = new Writer();
  for (const [n, type] of typesOf(call.signature ?? '').entries()) body.write(type, call.args?.[n] ?? 0);
  const fields: [number, string][] = [
    [FIELD.path, call.path],
    [FIELD.interface, call.interface],
    [FIELD.member, call.member],
    [FIELD.destination, call.destination],
    ...(call.signature === undefined ? [] : ([[FIELD.signature, call.signature]] as [number, string][])),
  ];
  const header = new Writer();
  for (const byte of ['l'.charCodeAt(0), TYPE.call, 0, 1]) header.write('y', byte);
  header.write('u', body.length).write('u', serial);
  header.write(
    'a(yv)',
    fields.map(([code, value]) => [code, { signature: FIELD_TYPE[code] ?? 's', value }]),
  );
  header.pad(8);
  return Buffer.concat([header.bytes(), body.bytes()]);
}

/** Of the whole message, once enough of its header is there. */
function sizeOf(buffer: Buffer): number | undefined {
  if (buffer.length < FIXED_HEADER) return undefined;
  if (buffer[0] !== 'l'.charCodeAt(0)) throw new Failure('Unavailable', 'a message of the other byte order');
  const size = Math.ceil((FIXED_HEADER + buffer.readUInt32LE(12)) / 8) * 8 + buffer.readUInt32LE(4);
  if (size > MOST_BYTES) throw new Failure('Unavailable', `a message of ${size} bytes`);
  return size;
}

function decode(bytes: Buffer): { readonly type: number; readonly fields: ReadonlyMap<number, Value>; readonly args: Value[] } {
  const reader = new Reader(bytes, 12);
  const entries = reader.read('a(yv)') as [number, { value: Value }][];
  const fields = new Map(entries.map(([code, variant]) => [code, variant.value]));
  reader.pad(8);
  // Alignment counts from the start of the message, and the body begins at a multiple of eight.
  const args = typesOf(textValue(fields.get(FIELD.signature))).map((type) => reader.read(type));
  return { type: bytes[1] ?? 0, fields, args };
}
