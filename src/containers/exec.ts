import type { Readable, Writable } from 'node:stream';
import { Failure, textOf } from '../errors/index.ts';
import { type TerminalSize, killTree, membersOf } from '../linux/index.ts';
import type { ExecFiles } from '../oci/runtime/index.ts';
import type { Child, TerminalChild } from '../process/index.ts';
import type { Container } from './container.ts';
import { Copy } from '../streams/index.ts';
import {
  type CommandGroup,
  commandGroup,
  isRunning,
  killCommandGroup,
  pidOf,
  pidWhenStarted,
  refuseExec,
  signalCommand,
  signalEach,
  userOutside,
  withExecFiles,
} from './exec-process.ts';

/** A client's side of a command or of a container's streams; what it did not ask for is undefined. */
export interface ClientStreams {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /** Each size that the client's window gets; the last one so far at once. */
  readonly onResize: (apply: (size: TerminalSize) => void) => void;
  /** Fires when the client has gone. */
  readonly gone: AbortSignal;
}

/** What a command has between hang-up and kill when its client has gone. */
const AFTER_HANG_UP_MS = 1000;
/** A killed command's runtime has ended by then, or cannot: a frozen container keeps the command from dying. */
const FROZEN_AFTER_MS = 2000;

/**
 * Exec with streams [E48–E54]: runs a command in the container, connected to the client, and answers its exit code. The runtime is its
 * parent, as in CRI-O, and its own complaint about a command that cannot be started goes to the client's stderr. A client that goes
 * takes its command along (against E50): hang-up, and a second later an end of its process group, with a terminal of its session.
 */
export async function exec(container: Container, command: readonly string[], tty: boolean, client: ClientStreams): Promise<number> {
  refuseExec(container, command);
  if (container.beingKilled) throw new Failure('FailedPrecondition', 'cannot start exec: container is being killed');
  return await withExecFiles(container, command, tty, async (files) => {
    const session = tty ? new TerminalCommand(container, files, client) : new PipedCommand(container, files, client);
    const end = new CommandEnd(session, files, tty);
    const onGone = () => end.hangUp();
    const onExit = () => end.kill();
    client.gone.addEventListener('abort', onGone, { once: true });
    container.dependents.add(onExit);
    if (client.gone.aborted) onGone();
    try {
      const exit = await session.child.exited;
      await end.finished;
      await session.drained();
      return exit.code ?? -1;
    } finally {
      client.gone.removeEventListener('abort', onGone);
      container.dependents.delete(onExit);
      session.release();
    }
  });
}

interface RunningCommand {
  readonly child: Pick<Child, 'pid' | 'exited' | 'kill'>;
  /** Takes the terminal away from the command. */
  readonly hangUp: () => void;
  /** Settles when what the ended command wrote has been passed on. */
  drained(): Promise<void>;
  release(): void;
}

class PipedCommand implements RunningCommand {
  readonly child: Child;
  readonly hangUp = () => {};
  readonly #copies: Copy[] = [];

  constructor(container: Container, files: ExecFiles, client: ClientStreams) {
    const { facts } = container;
    const child = facts.runtime.exec(container.id, files, { stdin: client.stdin !== undefined, owner: userOutside(facts.spec) });
    this.child = child;
    for (const [from, to] of [[child.stdout, client.stdout] as const, [child.stderr, client.stderr] as const]) {
      if (to === undefined) from.resume();
      else this.#copies.push(new Copy(from, to, { onBroken: 'close' }));
    }
    if (client.stdin !== undefined && child.stdin !== undefined) {
      const { stdin } = child;
      void new Copy(client.stdin, stdin, { onBroken: 'discard' }).done.then(() => stdin.end());
    }
  }

  async drained(): Promise<void> {
    await Promise.all(this.#copies.map((copy) => copy.drained()));
  }

  release(): void {
    for (const stream of [this.child.stdin, this.child.stdout, this.child.stderr]) stream?.destroy();
  }
}

const END_OF_INPUT = 4;

class TerminalCommand implements RunningCommand {
  readonly child: TerminalChild;
  readonly #copy: Copy | undefined;
  /** What stands in the terminal's line: an end of input ends a line first, and the input only when there is none. */
  #inLine = false;

  constructor(container: Container, files: ExecFiles, client: ClientStreams) {
    const child = container.facts.runtime.execOnTerminal(container.id, files);
    this.child = child;
    client.onResize((size) => child.resize(size));
    if (client.stdout === undefined) child.terminal.resume();
    else this.#copy = new Copy(child.terminal, client.stdout, { onBroken: 'close' });
    if (client.stdin === undefined) return;
    client.stdin.on('data', (chunk: Buffer) => (this.#inLine = chunk.at(-1) !== 0x0a && chunk.at(-1) !== 0x0d));
    void new Copy(client.stdin, child.terminal, { onBroken: 'discard' }).done.then(() => {
      if (!client.gone.aborted && child.terminal.writable) child.terminal.write(Buffer.alloc(this.#inLine ? 2 : 1, END_OF_INPUT));
    });
  }

  readonly hangUp = () => void this.child.terminal.destroy();

  async drained(): Promise<void> {
    await this.#copy?.drained();
  }

  release(): void {
    this.child.terminal.destroy();
  }
}

/** How a command is brought to its end by others: once, and at most in two steps. */
class CommandEnd {
  readonly #command: RunningCommand;
  readonly #files: ExecFiles;
  readonly #tty: boolean;
  #ending: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #skipWait: () => void = () => {};

  constructor(command: RunningCommand, files: ExecFiles, tty: boolean) {
    this.#command = command;
    this.#files = files;
    this.#tty = tty;
  }

  /** Settles when an end that has begun is complete. */
  get finished(): Promise<void> {
    return this.#ending ?? Promise.resolve();
  }

  hangUp(): void {
    this.#ending ??= this.#end(AFTER_HANG_UP_MS);
    this.#ending.catch(() => {}); // Told by `finished`.
  }

  kill(): void {
    this.#ending ??= this.#end(0);
    this.#ending.catch(() => {});
    this.#skipWait();
  }

  async #end(graceMs: number): Promise<void> {
    const { child } = this.#command;
    const before = graceMs > 0 ? await this.#whenStarted() : await this.#group();
    if (before !== undefined && graceMs > 0) signalCommand(before, 'SIGHUP');
    this.#command.hangUp();
    if (graceMs > 0) await this.#wait(graceMs, before);
    const command = before ?? (await this.#group());
    if (command !== undefined) this.#killAll(command);
    else killTree(child.pid); // Nobody knows how far it has come: what it has started goes with it.
    const timer = setTimeout(() => child.kill('SIGKILL'), FROZEN_AFTER_MS);
    await child.exited;
    clearTimeout(timer);
  }

  async #whenStarted(): Promise<CommandGroup | undefined> {
    const pid = await pidWhenStarted(this.#files.pid, FROZEN_AFTER_MS, this.#command.child.exited);
    return pid === undefined ? undefined : commandGroup(pid);
  }

  async #group(): Promise<CommandGroup | undefined> {
    const pid = await pidOf(this.#files.pid);
    return pid === undefined ? undefined : commandGroup(pid);
  }

  /** So long, or until the command has ended. A runtime may end before it: crun does when it loses its terminal. */
  async #wait(ms: number, command: CommandGroup | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#skipWait = resolve;
    this.#timer = setTimeout(resolve, ms);
    void this.#command.child.exited.then(() => {
      if (command === undefined || !isRunning(command)) resolve();
    });
    await promise;
    clearTimeout(this.#timer);
  }

  #killAll(command: CommandGroup): void {
    const session = this.#tty ? membersOf('session', command.pid) : [];
    killCommandGroup(command);
    signalEach(session, 'SIGKILL');
  }
}

/** What a client is told of a command that could not be run. */
export function execFailureText(error: unknown): string {
  return `error executing command in container: ${textOf(error)}`;
}
