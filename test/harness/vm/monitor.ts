import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { type Server, type Socket, createServer } from 'node:net';
import { createInterface } from 'node:readline';

type Fields = Readonly<Record<string, unknown>>;
interface Heard {
  readonly event: string;
  readonly data: Fields;
  readonly resolve: () => void;
}

/** What an emulator is asked about itself, and tells: its own protocol (QMP), for which it calls here. */
export class Monitor {
  readonly path: string;
  readonly #server: Server;
  readonly #answers: PromiseWithResolvers<unknown>[] = [];
  readonly #waiting = new Set<Heard>();
  #socket: Socket | undefined;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
  }

  static async open(path: string): Promise<Monitor> {
    rmSync(path, { force: true });
    const server = createServer();
    server.listen(path);
    await once(server, 'listening');
    return new Monitor(path, server);
  }

  /** Settles when the emulator listens. */
  async connected(): Promise<void> {
    const [socket] = (await once(this.#server, 'connection')) as [Socket];
    this.#socket = socket;
    socket.on('error', () => {}); // Whoever waits for an answer sees the end of the emulator.
    createInterface({ input: socket }).on('line', (line) => this.#take(JSON.parse(line) as Fields));
    await this.ask('qmp_capabilities');
  }

  async ask(execute: string, options: Fields = {}): Promise<unknown> {
    const answer = Promise.withResolvers<unknown>();
    this.#answers.push(answer);
    this.#socket?.write(JSON.stringify({ execute, arguments: options }));
    return await answer.promise;
  }

  /** Settles at the next such event, with these fields among its own. */
  async hears(event: string, data: Fields = {}): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const heard = { event, data, resolve };
    this.#waiting.add(heard);
    await promise.finally(() => this.#waiting.delete(heard));
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }

  #take(message: Fields): void {
    if ('return' in message) this.#answers.shift()?.resolve(message['return']);
    if ('error' in message) this.#answers.shift()?.reject(new Error(`qemu: ${JSON.stringify(message['error'])}`));
    if (!('event' in message)) return;
    const fields = (message['data'] ?? {}) as Fields;
    for (const { event, data, resolve } of this.#waiting)
      if (event === message['event'] && Object.entries(data).every(([key, value]) => fields[key] === value)) resolve();
  }
}
