import { Socket } from 'node:net';
import { lastError, libc } from './libc.ts';
import { OwnedFd } from './fd.ts';

const epollCreateFn = libc.func('int epoll_create1(int)');
const epollCtlFn = libc.func('int epoll_ctl(int, int, int, void *)');
const epollWaitFn = libc.func('int epoll_wait(int, void *, int, int)');
const pipe2Fn = libc.func('int pipe2(void *, int)');
const dup3Fn = libc.func('int dup3(int, int, int)');

const CLOEXEC = 0o2000000;
const CTL = { add: 1, delete: 2, modify: 3 } as const;
export const EPOLL = { IN: 0x1, HUP: 0x10, ONESHOT: 0x40000000 } as const;
/** struct epoll_event is packed on x86 only: events, then 64 bits that are ours. */
const LAYOUT = process.arch === 'x64' ? { size: 12, data: 4 } : { size: 16, data: 8 };
const BATCH = 64;

/**
 * Waits for descriptors that Node does not poll (pidfds, inotify) without a thread: they stand in an epoll instance, which is itself
 * a descriptor that becomes readable, and Node's own loop polls that one. Reading it answers EINVAL, so each round of
 * news costs a socket object; at rest nothing costs anything.
 */
export class Readiness {
  readonly #epoll: OwnedFd;
  /** By a number of ours: a descriptor's may be another's before its last news is delivered. */
  readonly #callbacks = new Map<number, (events: number) => void>();
  readonly #tokens = new Map<number, number>();
  #nextToken = 1;
  #socket: Socket | undefined;
  #closed = false;

  constructor() {
    const fd = Number(epollCreateFn(CLOEXEC));
    if (fd < 0) throw lastError('epoll_create1', '');
    this.#epoll = new OwnedFd(fd);
  }

  /** Calls back with the events that came; the descriptor stays the caller's, who takes it out before closing it. */
  add(fd: number, events: number, callback: (events: number) => void): void {
    const token = this.#nextToken++;
    this.#control(CTL.add, fd, events, token);
    this.#tokens.set(fd, token);
    this.#callbacks.set(token, callback);
    if (this.#socket === undefined) this.#arm();
  }

  /** Other events from now on; arms a ONESHOT again. */
  change(fd: number, events: number): void {
    this.#control(CTL.modify, fd, events, this.#tokens.get(fd) ?? 0);
  }

  remove(fd: number): void {
    const token = this.#tokens.get(fd);
    if (token === undefined) return;
    this.#tokens.delete(fd);
    this.#callbacks.delete(token);
    if (!this.#closed) this.#control(CTL.delete, fd, 0, token);
  }

  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
    this.#callbacks.clear();
    this.#tokens.clear();
    this.#epoll[Symbol.dispose]();
  }

  #control(operation: number, fd: number, events: number, token: number): void {
    const event = Buffer.alloc(LAYOUT.size);
    event.writeUInt32LE(events, 0);
    event.writeUInt32LE(token, LAYOUT.data);
    if (Number(epollCtlFn(this.#epoll.fd, operation, fd, event)) !== 0) throw lastError('epoll_ctl', `descriptor ${fd}`);
  }

  /** Node takes a pipe's number as a stream; under that number it then finds the epoll instance, which polls like any other. */
  #arm(): void {
    const pair = Buffer.alloc(8);
    if (Number(pipe2Fn(pair, CLOEXEC)) !== 0) throw lastError('pipe2', 'a wait for descriptors');
    const fd = pair.readInt32LE(0);
    using _ = new OwnedFd(pair.readInt32LE(4));
    const socket = new Socket({ fd, readable: true, writable: false });
    if (Number(dup3Fn(this.#epoll.fd, fd, CLOEXEC)) < 0) {
      socket.destroy();
      throw lastError('dup3', 'epoll');
    }
    socket.unref();
    socket.on('error', () => {}); // EINVAL: there is news.
    socket.once('close', () => {
      if (this.#closed) return;
      this.#deliver();
      this.#arm();
    });
    socket.resume();
    this.#socket = socket;
  }

  #deliver(): void {
    const events = Buffer.alloc(LAYOUT.size * BATCH);
    const count = Number(epollWaitFn(this.#epoll.fd, events, BATCH, 0));
    for (let n = 0; n < count; n++) {
      const at = n * LAYOUT.size;
      this.#callbacks.get(events.readUInt32LE(at + LAYOUT.data))?.(events.readUInt32LE(at));
    }
  }
}
