import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { processStat } from '../../src/linux/index.ts';
import { type RunResult, exitFailure } from '../../src/process/index.ts';
import { removeCgroups, removeEmptyCgroup } from './cgroups.ts';
import { machinesDir, toolPath, unpackedTool } from './tools.ts';

/**
 * What stands between a test and the machine it runs on: namespaces of mounts, network, processes, IPC and host name,
 * in which /run, /etc, /var/lib and /var/log look like those of a node that has just been set up. A daemon runs there
 * with its default paths, many side by side, and whatever it leaves dies with the machine: the first process ends when
 * whoever started it does (parent-death signals, and the end of its input), and takes all others along.
 *
 * Only cgroups are the host's own; everything of a machine stands below `cgroup` there.
 */
export class Machine {
  /** On a real file system; removed at the end. */
  readonly dir: string;
  /** The name of a cgroup, `/crio-test-…`, below which pods of this machine belong. */
  readonly cgroup: string;
  #first: ChildProcess | undefined;
  #init = 0;

  constructor() {
    mkdirSync(machinesDir, { recursive: true });
    sweep();
    const mine = processStat(process.pid);
    this.dir = mkdtempSync(join(machinesDir, `${process.pid}.${mine?.startTime ?? '0'}.`));
    this.cgroup = `/crio-test-${basename(this.dir).replaceAll('.', '-')}`;
  }

  async start(): Promise<void> {
    for (const name of BOUND) mkdirSync(join(this.dir, name.replaceAll('/', '_')), { recursive: true });
    for (const name of ['etc', 'etc.work', 'lib', 'lib.work', 'log']) mkdirSync(join(this.dir, name), { recursive: true });
    const namespaces = [
      '--mount',
      '--net',
      '--pid',
      '--ipc',
      '--uts',
      '--fork',
      '--kill-child',
      '--mount-proc',
      '--propagation',
      'private',
    ];
    const init = [unpackedTool('usr/bin/tini'), '--', 'sh', join(import.meta.dirname, 'machine.sh'), this.dir, ...BOUND];
    const first = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', ...namespaces, '--', ...init], {
      env: { PATH: toolPath },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#first = first;
    const complaint: Buffer[] = [];
    first.stderr.on('data', (chunk: Buffer) => complaint.push(chunk));
    const ready = await Promise.race([once(first.stdout, 'data'), once(first, 'exit')]);
    if (!Buffer.isBuffer(ready[0])) throw new Error(`the machine did not start: ${Buffer.concat(complaint).toString('utf8')}`);
    this.#init = onlyChild(first.pid ?? 0);
  }

  /** The host's PID of the machine's first process. */
  get init(): number {
    return this.#init;
  }

  /** Where a test finds the machine's own `/run/…`: through its first process. */
  path(inside: string): string {
    return `/proc/${this.#init}/root${inside}`;
  }

  /** The words that run a command inside when put before it. */
  get enter(): readonly [string, ...string[]] {
    return ['nsenter', '-t', String(this.#init), '-m', '-n', '-p', '-i', '-u', '--'];
  }

  /** Starts a command inside. Its host PID is a child of the answered process, see `pidOf`. */
  spawn(argv: readonly string[], stdio: StdioOptions, env: Readonly<Record<string, string>> = {}): ChildProcess {
    const [program, ...args] = [...this.enter, ...argv];
    return spawn(program, args, { env: { PATH: toolPath, HOME: '/root', ...env }, stdio, cwd: '/' });
  }

  /** The host's PID of what `spawn` started; undefined once it has gone. */
  pidOf(child: ChildProcess): number | undefined {
    try {
      return child.pid === undefined ? undefined : onlyChild(child.pid);
    } catch {
      return undefined;
    }
  }

  /** The PID by which the machine itself knows a process. */
  pidInside(hostPid: number): number {
    const inside = /^NSpid:.*\s(\d+)$/m.exec(readFileSync(`/proc/${hostPid}/status`, 'utf8'))?.[1];
    return Number(inside);
  }

  /** Runs a command inside to its end; a non-zero exit is an error unless `mayFail`. */
  async exec(
    argv: readonly string[],
    options: { mayFail?: boolean; stdin?: string; env?: Readonly<Record<string, string>> } = {},
  ): Promise<RunResult> {
    const child = this.spawn(argv, ['pipe', 'pipe', 'pipe'], options.env);
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin?.on('error', () => {}); // Judged by the exit code.
    child.stdin?.end(options.stdin ?? '');
    // The command itself must go, not only nsenter, which waits for it outside.
    const deadline = setTimeout(() => process.kill(this.pidOf(child) ?? child.pid ?? 0, 'SIGKILL'), EXEC_DEADLINE_MS);
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    clearTimeout(deadline);
    const result = { code, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString('utf8') };
    if (code !== 0 && options.mayFail !== true) throw exitFailure(argv, result);
    return result;
  }

  /** A power cut, and the machine boots again: disks are as they were, /run is empty, processes, mounts, networks and cgroups are gone. */
  async reboot(): Promise<void> {
    await this.#halt();
    await this.start();
  }

  async #halt(): Promise<void> {
    const first = this.#first;
    if (first !== undefined && first.exitCode === null && first.signalCode === null) {
      const gone = once(first, 'exit');
      process.kill(this.#init, 'SIGKILL');
      await gone;
    }
    await removeCgroups(this.cgroup);
  }

  /** Ends every process inside, and removes what the machine had on disk and in the host's cgroups. */
  async end(): Promise<void> {
    await this.#halt();
    removeEmptyCgroup('/crio'); // The parent of containers of pods that named none.
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
}

const EXEC_DEADLINE_MS = 120_000;

/** Directories of which the machine has its own, empty: what the host's user keeps there stays unseen. */
const BOUND = [
  '/etc/crio',
  '/etc/cni',
  '/etc/containers',
  '/etc/containerd',
  '/var/lib/crio',
  '/var/lib/cni',
  '/var/lib/containers',
  '/var/lib/containerd',
  '/var/lib/kubelet',
];

function onlyChild(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  const child = Number(children[0]);
  if (!(child > 0)) throw new Error(`process ${pid} has no child`);
  return child;
}

/** Removes what machines of test processes that were killed have left: their processes died with them. */
function sweep(): void {
  for (const name of readdirSync(machinesDir)) {
    const [, pid, startTime] = /^(\d+)\.(\d+)\./.exec(name) ?? [];
    if (startTime === undefined || processStat(Number(pid))?.startTime === startTime) continue;
    rmSync(join(machinesDir, name), { recursive: true, force: true });
    void removeCgroups(`/crio-test-${name.replaceAll('.', '-')}`);
  }
}
