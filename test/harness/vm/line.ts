import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import type { Answer, Order, OrderOf } from './protocol.ts';

/** The host's end of what a test says to a virtual machine: the machine calls, over qemu's user network. One line serves all its boots. */
export class Line {
  readonly #server: Server;
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>();
  readonly #streams = new Map<number, PromiseWithResolvers<Socket>>();
  readonly #sockets = new Set<Socket>();
  #arrived = Promise.withResolvers<Socket>();
  #control: Socket | undefined;
  #lastId = 0;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => this.#welcome(socket));
  }

  static async open(): Promise<Line> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Line(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Settles when the machine has called. */
  async connected(): Promise<void> {
    this.#control = await this.#arrived.promise;
  }

  async ask(order: OrderOf): Promise<Answer> {
    return await this.#send(++this.#lastId, order);
  }

  /** A connection to a socket in the machine. */
  async connect(socket: string): Promise<Socket> {
    const id = ++this.#lastId;
    const stream = Promise.withResolvers<Socket>();
    stream.promise.catch(() => {}); // Told by the answer.
    this.#streams.set(id, stream);
    await this.#send(id, { kind: 'connect', socket });
    return await stream.promise;
  }

  /** The machine is no more: nobody answers. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
    const gone = new Error('the virtual machine has lost its power');
    for (const { reject } of [...this.#waiting.values(), ...this.#streams.values()]) reject(gone);
    this.#waiting.clear();
    this.#streams.clear();
    this.#control = undefined;
    this.#arrived = Promise.withResolvers();
  }

  close(): void {
    this.hangUp();
    this.#server.close();
  }

  async #send(id: number, order: OrderOf): Promise<Answer> {
    assert.ok(this.#control, 'the virtual machine is not running');
    const answered = Promise.withResolvers<Answer>();
    this.#waiting.set(id, answered);
    this.#control.write(`${JSON.stringify({ ...order, id } satisfies Order)}\n`);
    const answer = await answered.promise.finally(() => this.#waiting.delete(id));
    if (answer.error !== undefined) throw new Error(`in the virtual machine: ${answer.error}`);
    return answer;
  }

  #welcome(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {}); // Whoever uses it sees its end.
    socket.once('close', () => this.#sockets.delete(socket));
    void purposeOf(socket).then((purpose) => {
      if (purpose === 'control') return this.#listen(socket);
      const id = Number(purpose);
      this.#streams.get(id)?.resolve(socket);
      this.#streams.delete(id);
    });
  }

  #listen(socket: Socket): void {
    createInterface({ input: socket }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer;
      this.#waiting.get(answer.id)?.resolve(answer);
    });
    this.#arrived.resolve(socket);
  }
}

/** The first line; what comes after it stays in the socket. */
async function purposeOf(socket: Socket): Promise<string> {
  let text = '';
  while (!text.endsWith('\n')) {
    const byte = socket.read(1) as Buffer | null;
    if (byte === null) await once(socket, 'readable');
    else text += byte.toString('latin1');
  }
  return text.trim();
}
