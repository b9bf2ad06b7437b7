import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Failure } from '../../errors/index.ts';
import { type Child, type RunResult, type TerminalChild, launch, launchOnTerminal, run } from '../../process/index.ts';
import { step } from '../../steps/index.ts';
import { processStat } from '../../linux/index.ts';
import type { RuntimeHandler } from './handler.ts';
import { type RuntimeView, readOwnState } from './own-state.ts';

/**
 * A runtime command that has not ended by then is killed: CRI-O waits for ever [K60], which blocks the container (p06). What starts or
 * changes a process may have to wait for the node; what asks or ends has nothing to wait for.
 */
const LONG_COMMAND_MS = 4 * 60 * 1000;
const SHORT_COMMAND_MS = 30 * 1000;
/** To stop a paused container: there are other ways to thaw it. */
const RESUME_TO_STOP_MS = 1000;

/** What `runtime exec` needs beside the container. */
export interface ExecFiles {
  /** The runtime's binary for the container [K19]. */
  readonly path: string;
  /** The process as the OCI specification describes one; read. */
  readonly process: string;
  /** Written when the command has started. */
  readonly pid: string;
}

/**
 * One OCI runtime binary with its root: the commands that change a container or tell what nothing else tells.
 * Signals and liveness of runc's and crun's containers never come through here (design: pidfd and start time).
 */
export class OciRuntime {
  readonly handler: RuntimeHandler;
  /** runc's and crun's containers are processes of this kernel: signals and liveness need no runtime. */
  readonly signalsDirectly: boolean;
  readonly #prefix: readonly [string, ...string[]];
  /** By container: a command at a time holds its lock, and `kill` goes beside it. */
  readonly #underWay = new Map<string, Set<AbortController>>();

  constructor(handler: RuntimeHandler, systemdCgroup: boolean) {
    this.handler = handler;
    this.signalsDirectly = /^(runc|crun)/.test(basename(handler.path));
    this.#prefix = [handler.path, '--root', handler.root, ...(systemdCgroup ? ['--systemd-cgroup'] : [])];
  }

  /** [K51] */
  async start(id: string): Promise<void> {
    await this.#command(id, ['start', id], { timeoutMs: LONG_COMMAND_MS });
  }

  /** [K52] A container that is not running any more is a `NotFound` failure. */
  async kill(id: string, signal: string, options: { readonly all?: boolean } = {}): Promise<void> {
    await this.#command(id, ['kill', ...(options.all === true ? ['-a'] : []), id, signal]);
  }

  /** [K53, K62] Deleting what the runtime does not know is success. */
  async delete(id: string): Promise<void> {
    if (this.signalsDirectly && !existsSync(join(this.handler.root, id))) return; // After a reboot, say: nothing to ask a program for.
    try {
      await this.#command(id, ['delete', '--force', id]);
    } catch (error) {
      if (!(error instanceof Failure && error.kind === 'NotFound')) throw error;
    }
  }

  /** [K54] `status` and `pid` as the runtime sees them. */
  async state(id: string): Promise<{ readonly status: string; readonly pid: number }> {
    const { stdout } = await this.#command(id, ['state', id]);
    const parsed: unknown = JSON.parse(stdout.toString('utf8'));
    if (parsed === null || typeof parsed !== 'object') throw new Failure('Unknown', `${this.handler.path} state ${id}: no JSON object`);
    const { status, pid } = parsed as { status?: unknown; pid?: unknown };
    return { status: typeof status === 'string' ? status : '', pid: typeof pid === 'number' ? pid : 0 };
  }

  /** What the runtime knows of a container, without executing runc or crun for it; undefined for one that it does not know. */
  async view(id: string): Promise<RuntimeView | undefined> {
    if (this.signalsDirectly) return readOwnState(this.handler.path, this.handler.root, id);
    try {
      const { status, pid } = await this.state(id);
      return { started: status !== 'created', pid, startTime: processStat(pid)?.startTime ?? '' };
    } catch (error) {
      if (error instanceof Failure && error.kind === 'NotFound') return undefined;
      throw error;
    }
  }

  /** [K55] */
  async pause(id: string): Promise<void> {
    await this.#command(id, ['pause', id]);
  }

  async resume(id: string, options: { readonly toStop?: boolean } = {}): Promise<void> {
    await this.#command(id, ['resume', id], options.toStop === true ? { timeoutMs: RESUME_TO_STOP_MS } : {});
  }

  /** Kills the commands for that container that are under way: their callers get a failure. */
  interrupt(id: string): void {
    const reason = new Failure('Unavailable', `${this.handler.path} was killed: it hung while container ${id} was stopped`);
    for (const command of this.#underWay.get(id) ?? []) command.abort(reason);
  }

  /** [K56] OCI `linux.resources` as JSON; `path` is the binary of the container's platform [K19]. */
  async update(id: string, resources: string, path: string = this.handler.path): Promise<void> {
    const argv: [string, ...string[]] = [path, '--root', this.handler.root, 'update', '--resources', '-', id];
    await this.#run(id, argv, { timeoutMs: LONG_COMMAND_MS, stdin: resources });
  }

  /**
   * Starts a process in a container [E49]; the runtime stays its parent, its exit code is the command's (128+n for signal n). `owner`
   * is the command's user, who may open its streams by name [E51].
   */
  exec(
    id: string,
    files: ExecFiles,
    options: { readonly stdin?: boolean; readonly owner?: { readonly uid: number; readonly gid: number } } = {},
  ): Child {
    const { stdin = false, owner } = options;
    return launch(this.#execArguments(id, files), {
      program: this.handler.programs.programFor(files.path),
      env: runtimeEnvironment(this.handler),
      stdin: stdin ? 'pipe' : 'none',
      ...(owner === undefined ? {} : { owner }),
    });
  }

  /** As `exec`, for a process with a terminal: the runtime passes on what goes through its own [E52]. */
  execOnTerminal(id: string, files: ExecFiles): TerminalChild {
    return launchOnTerminal(this.#execArguments(id, files), {
      program: this.handler.programs.programFor(files.path),
      env: runtimeEnvironment(this.handler),
    });
  }

  #execArguments(id: string, files: ExecFiles): [string, ...string[]] {
    const [, ...prefix] = this.#prefix;
    return [files.path, ...prefix, 'exec', '--process', files.process, '--pid-file', files.pid, id];
  }

  /** The binary for containers of an image's platform [K19]. */
  pathFor(os: string, architecture: string): string {
    return this.handler.platformPaths.get(`${os}/${architecture}`) ?? this.handler.path;
  }

  /** As `pathFor`, from what a container's spec remembers: only a path that the configuration names is run. */
  rememberedPath(path: string | undefined): string {
    return [...this.handler.platformPaths.values()].find((known) => known === path) ?? this.handler.path;
  }

  async #command(id: string, args: readonly string[], options: { readonly timeoutMs?: number } = {}): Promise<RunResult> {
    return await this.#run(id, [...this.#prefix, ...args], { timeoutMs: SHORT_COMMAND_MS, ...options });
  }

  async #run(
    id: string,
    argv: [string, ...string[]],
    options: { readonly timeoutMs: number; readonly stdin?: string },
  ): Promise<RunResult> {
    const interrupt = new AbortController();
    const underWay = this.#underWay.get(id) ?? new Set();
    this.#underWay.set(id, underWay.add(interrupt));
    try {
      const program = this.handler.programs.programFor(argv[0]);
      const settings = { program, env: runtimeEnvironment(this.handler), signal: interrupt.signal, ...options };
      const verb = argv.slice(1).find((word, at) => !word.startsWith('-') && argv[at] !== '--root') ?? '';
      const result = await step(`${basename(argv[0])} ${verb}`, () => run(argv, settings));
      if (result.code === 0) return result;
      throw commandFailure(argv, result);
    } finally {
      underWay.delete(interrupt);
      if (underWay.size === 0) this.#underWay.delete(id);
    }
  }
}

/** Environment of runtime and monitor [K32, K59]: nothing else of the daemon's is handed on. */
export function runtimeEnvironment(handler: RuntimeHandler): Record<string, string> {
  const env: Record<string, string> = {};
  for (const word of handler.monitorEnv) {
    const at = word.indexOf('=');
    if (at > 0) env[word.slice(0, at)] = word.slice(at + 1);
  }
  env['CRI_O_EXTERNAL'] = '1';
  for (const name of ['XDG_RUNTIME_DIR', 'PATH']) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

/** What the runtimes print for a container or process that has gone [K61]: the one place that must read a text, for they have no codes. */
const GONE =
  /no such process|container not running|invalid process|does not exist|is not running|error opening file .*status.*: No such file/i;

function commandFailure(argv: readonly string[], result: RunResult): Failure {
  const gone = GONE.test(result.stderr);
  const why = gone ? 'container process not found' : result.signal === null ? `exit status ${result.code}` : `signal: ${result.signal}`;
  return new Failure(
    gone ? 'NotFound' : 'Unknown',
    `\`${argv.join(' ')}\` failed: ${result.stderr.trim()} ${result.stdout.toString('utf8').trim()}: ${why}`,
  );
}
