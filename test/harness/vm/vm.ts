import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { join } from 'node:path';
import { processStat } from '../../../src/linux/index.ts';
import { type RunResult, exitFailure } from '../../../src/process/index.ts';
import { type CriClient, connectCri } from '../client.ts';
import { machinesDir } from '../tools.ts';
import { programDisk } from './disks.ts';
import { Line } from './line.ts';
import { Qemu, consoleText } from './qemu.ts';
import { type SavedMachine, savedMachine } from './saved.ts';

const DAEMON_SOCKET = '/run/crio/crio.sock';

/**
 * A virtual machine with a kernel of its own, Debian's, on an emulated processor: slow (ten times and more), but its disk, its power
 * and its modules are the test's. Its root file system is in memory: only its data disk, /dev/vdc, outlives `cutPower`.
 *
 * A power cut is SIGKILL for the emulator. What a program in the machine wrote is lost then unless the machine's own kernel had
 * written it to the disk, be it because somebody asked for it (fsync) or because it was time: its page cache dies with it. What it had
 * written to the disk stays, flushed or not, as the image file lies in the host's page cache. So a disk that forgets what was not
 * flushed is not modelled: the file system in the machine is what has to care for that.
 *
 * A boot is the return of a machine that was saved right after its boot (saved.ts); it gets the time of day, a boot id of its own, and a
 * look at its disks that is not older than the boot.
 */
export class Vm {
  /** On a real file system; removed at the end. */
  readonly dir: string;
  /** The image file of the data disk. It must have a file system before the machine boots. */
  readonly disk: string;
  /** What the machine calls the host's loopback address. */
  readonly hostAddress = '10.0.2.2';
  /** Of pods, as a machine of namespaces has one. */
  readonly cgroup = '/pods';
  #parts: Parts | undefined;
  #qemu: Qemu | undefined;
  #client: CriClient | undefined;

  constructor() {
    mkdirSync(machinesDir, { recursive: true });
    // Named as machines are, which sweep up after a process that was killed.
    this.dir = mkdtempSync(join(machinesDir, `${process.pid}.${processStat(process.pid)?.startTime ?? '0'}.vm-`));
    this.disk = join(this.dir, 'data.img');
  }

  /** Why there can be none here; undefined where there can. */
  static get unavailable(): string | undefined {
    return process.arch === 'x64' ? undefined : `the virtual machine is an x86_64 one, this is ${process.arch}`;
  }

  /** Switches the power on; settles when the machine does what it is asked. */
  async boot(): Promise<void> {
    const { line, program, machine } = (this.#parts ??= await this.#prepare());
    const qemu = await Qemu.start({ ...machine, program, data: this.disk }, { console: this.#consoleFile, saved: machine.saved });
    this.#qemu = qemu;
    await qemu.resumed();
    qemu.type(`go ${line.port} ${Math.round(Date.now() / 1000)}`);
    await qemu.within(line.connected(), 'called');
    for (const disk of ['/dev/vdb', '/dev/vdc']) await this.exec(['blockdev', '--flushbufs', disk]);
    await this.exec(['mount', '-o', 'ro', '/dev/vdb', '/opt/crio']);
  }

  /** Whatever its kernel has not written to the disk is lost. */
  async cutPower(): Promise<void> {
    const qemu = this.#qemu;
    this.#qemu = undefined;
    await qemu?.kill();
    this.#parts?.line.hangUp();
    this.#client?.close();
    this.#client = undefined;
  }

  /** Runs a command inside to its end; a non-zero exit is an error unless it may fail. */
  async exec(argv: readonly string[], options: { mayFail?: boolean; stdin?: string } = {}): Promise<RunResult> {
    const { code = null, signal = null, stdout, stderr } = await this.#line.ask({ kind: 'exec', argv, stdin: options.stdin ?? '' });
    const result = { code, signal, stdout: decoded(stdout), stderr: decoded(stderr).toString('utf8') };
    if (code !== 0 && options.mayFail !== true) throw exitFailure(argv, result);
    return result;
  }

  /** Writes files inside, by their path; scripts are executable. */
  async write(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [path, text] of Object.entries(files)) await this.#line.ask({ kind: 'write', path, text });
  }

  /** Starts the daemon, whose words go to the console, and waits until it answers on its socket. */
  async startDaemon(): Promise<void> {
    await this.#line.ask({ kind: 'start', argv: ['/usr/bin/crio'], socket: DAEMON_SOCKET });
    this.#client = connectCri(this.#socketFile);
  }

  get client(): CriClient {
    assert.ok(this.#client, 'the daemon is not running');
    return this.#client;
  }

  /** What kernel, agent and daemon wrote since the first boot. */
  console(): string {
    return consoleText(this.#consoleFile);
  }

  async end(): Promise<void> {
    await this.cutPower();
    this.#parts?.line.close();
    this.#parts?.server.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  get #line(): Line {
    assert.ok(this.#parts, 'the virtual machine is not running');
    return this.#parts.line;
  }

  get #consoleFile(): string {
    return join(this.dir, 'console.log');
  }

  get #socketFile(): string {
    return join(this.dir, 'crio.sock');
  }

  async #prepare(): Promise<Parts> {
    const program = join(this.dir, 'program.img');
    const [machine] = await Promise.all([savedMachine(), programDisk(program)]);
    const line = await Line.open();
    // Whoever connects here is connected to the daemon's socket inside.
    const server = createServer({ pauseOnConnect: true }, (outside) => {
      outside.on('error', () => {});
      line.connect(DAEMON_SOCKET).then(
        (inside) => {
          inside.once('close', () => outside.destroy());
          outside.once('close', () => inside.destroy());
          outside.pipe(inside).pipe(outside);
        },
        () => outside.destroy(),
      );
    });
    server.listen(this.#socketFile);
    await once(server, 'listening');
    return { machine, program, line, server };
  }
}

interface Parts {
  readonly machine: SavedMachine;
  readonly program: string;
  readonly line: Line;
  readonly server: Server;
}

function decoded(base64: string | undefined): Buffer {
  return Buffer.from(base64 ?? '', 'base64');
}
