import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { type Server, type Socket, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Reader, type Value, Writer, textValue, typesOf } from '../../src/resources/systemd/wire.ts';

/** A unit as StartTransientUnit asked for it. */
export interface AskedUnit {
  readonly name: string;
  readonly mode: string;
  readonly properties: ReadonlyMap<string, { readonly signature: string; readonly value: Value }>;
}

/** What the stand-in does with the n-th unit. */
export interface Behaviour {
  readonly delayMs?: number;
  readonly loseSignal?: boolean;
  /** Default: done. */
  readonly result?: string;
  /** The call itself is refused with this text. */
  readonly error?: string;
  /** The unit never becomes active, and no signal comes. */
  readonly hang?: boolean;
}

/**
 * A real dbus-daemon with a `org.freedesktop.systemd1` on it that makes no units, and delays, loses and refuses as told. What it
 * shows is how a client behaves on a bus; systemd itself it is not.
 */
export class SystemdStandIn {
  /** Where clients connect: each connection is cut after so many writes of the client, if that is set. */
  readonly path: string;
  readonly units: AskedUnit[] = [];
  mostAtOnce = 0;
  cuts = 0;
  cutAfter = Number.POSITIVE_INFINITY;
  behaviour: (n: number) => Behaviour = () => ({});
  /** What systemd would do before the job ends, moving processes for instance. */
  onUnit: (unit: AskedUnit) => Promise<void> = async () => {};
  readonly #busPath: string;
  readonly #directory: string;
  #daemon: ChildProcess | undefined;
  #service: Socket | undefined;
  #proxy: Server | undefined;
  readonly #open = new Set<Socket>();
  readonly #active = new Set<string>();
  #atOnce = 0;
  #serial = 1;
  #buffer: Buffer = Buffer.alloc(0);

  constructor(directory: string) {
    this.#directory = directory;
    this.path = join(directory, 'system_bus_socket');
    this.#busPath = join(directory, 'real-bus');
  }

  async start(): Promise<void> {
    const config = join(this.#directory, 'bus.conf');
    writeFileSync(
      config,
      `<busconfig><type>system</type><listen>unix:path=${this.#busPath}</listen><auth>EXTERNAL</auth><policy context="default">
<allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/><allow user="*"/></policy></busconfig>`,
    );
    const daemon = spawn('dbus-daemon', [`--config-file=${config}`, '--nofork', '--nopidfile', '--print-address'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#daemon = daemon;
    await once(daemon.stdout, 'data');
    await this.#serve();
    this.#proxy = createServer((client) => this.#pass(client)).listen(this.path);
    await once(this.#proxy, 'listening');
  }

  async stop(): Promise<void> {
    this.#proxy?.close();
    for (const socket of this.#open) socket.destroy();
    this.#service?.destroy();
    const ended = this.#daemon === undefined ? undefined : once(this.#daemon, 'exit');
    this.#daemon?.kill('SIGKILL');
    await ended;
    for (const path of [this.path, this.#busPath]) rmSync(path, { force: true });
  }

  #pass(client: Socket): void {
    const bus = connect(this.#busPath);
    let writes = 0;
    this.#open.add(client);
    const end = () => {
      client.destroy();
      bus.destroy();
      this.#open.delete(client);
    };
    client.on('data', (chunk) => {
      if (++writes > this.cutAfter) {
        this.cuts++;
        end();
      } else bus.write(chunk);
    });
    bus.on('data', (chunk) => client.write(chunk));
    for (const socket of [client, bus]) socket.on('error', () => {}).on('close', end);
  }

  async #serve(): Promise<void> {
    const service = connect(this.#busPath);
    this.#service = service;
    service.on('error', () => {});
    service.write(`\0AUTH EXTERNAL ${Buffer.from(String(process.getuid?.() ?? 0)).toString('hex')}\r\n`);
    await once(service, 'data');
    service.write('BEGIN\r\n');
    service.on('data', (chunk: Buffer) => this.#receive(chunk));
    const bus = { path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus', destination: 'org.freedesktop.DBus' };
    this.#send(1, { ...bus, member: 'Hello' });
    this.#send(1, { ...bus, member: 'RequestName' }, 'su', ['org.freedesktop.systemd1', 0]);
    await delay(200); // The bus answers in order, but nobody here reads the answers.
  }

  #receive(chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    while (this.#buffer.length >= 16) {
      const size = Math.ceil((16 + this.#buffer.readUInt32LE(12)) / 8) * 8 + this.#buffer.readUInt32LE(4);
      if (this.#buffer.length < size) return;
      const message = this.#buffer.subarray(0, size);
      this.#buffer = this.#buffer.subarray(size);
      if (message[1] === 1) this.#answer(message);
    }
  }

  #answer(message: Buffer): void {
    const reader = new Reader(message, 12);
    const fields = new Map((reader.read('a(yv)') as [number, { value: Value }][]).map(([code, { value }]) => [code, value]));
    reader.pad(8);
    const args = typesOf(textValue(fields.get(8))).map((type) => reader.read(type));
    const reply = { replySerial: message.readUInt32LE(8), destination: textValue(fields.get(7)) };
    const member = textValue(fields.get(3));
    if (member === 'StartTransientUnit') return void this.#startUnit(args, reply);
    if (member === 'GetUnit') return this.#send(2, reply, 'o', [`/unit/${Buffer.from(textValue(args[0])).toString('hex')}`]);
    if (member === 'Get') {
      const unit = Buffer.from(textValue(fields.get(1)).slice('/unit/'.length), 'hex').toString();
      const value = this.#active.has(unit) ? 'active' : 'activating';
      return this.#send(2, reply, 'v', [{ signature: 's', value }]);
    }
    this.#send(2, reply);
  }

  async #startUnit(args: readonly Value[], reply: { replySerial: number; destination: string }): Promise<void> {
    const [name, mode, list] = args as [string, string, [string, { signature: string; value: Value }][]];
    const known = this.units.some((unit) => unit.name === name);
    const { delayMs = 0, loseSignal = false, result = 'done', error, hang = false } = this.behaviour(this.units.length);
    if (known) return this.#send(3, { ...reply, error: 'org.freedesktop.systemd1.UnitExists' }, 's', [`Unit ${name} was already loaded`]);
    const unit = { name, mode, properties: new Map(list) };
    this.units.push(unit);
    if (error !== undefined) return this.#send(3, { ...reply, error: 'org.freedesktop.DBus.Error.Failed' }, 's', [error]);
    this.#atOnce++;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#atOnce);
    this.#send(2, reply, 'o', ['/job/1']);
    await delay(delayMs);
    await this.onUnit(unit);
    this.#atOnce--;
    if (hang) return;
    if (result === 'done') this.#active.add(name);
    if (loseSignal) return;
    const signal = { path: '/org/freedesktop/systemd1', interface: 'org.freedesktop.systemd1.Manager', member: 'JobRemoved' };
    this.#send(4, signal, 'uoss', [1, '/job/1', name, result]);
  }

  #send(type: number, fields: Readonly<Record<string, string | number>>, signature = '', args: readonly Value[] = []): void {
    const body = new Writer();
    for (const [n, one] of typesOf(signature).entries()) body.write(one, args[n] ?? 0);
    const codes: Readonly<Record<string, readonly [number, string]>> = {
      path: [1, 'o'],
      interface: [2, 's'],
      member: [3, 's'],
      error: [4, 's'],
      replySerial: [5, 'u'],
      destination: [6, 's'],
      signature: [8, 'g'],
    };
    const all = { ...fields, ...(signature === '' ? {} : { signature }) };
    const header = new Writer();
    for (const byte of [0x6c, type, 0, 1]) header.write('y', byte);
    header.write('u', body.length).write('u', this.#serial++);
    header.write(
      'a(yv)',
      Object.entries(all).map(([name, value]) => [codes[name]?.[0] ?? 0, { signature: codes[name]?.[1] ?? 's', value }]),
    );
    header.pad(8);
    this.#service?.write(Buffer.concat([header.bytes(), body.bytes()]));
  }
}
