import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { toolPath } from '../tools.ts';
import { Monitor } from './monitor.ts';

const MEMORY_MB = 1024;
const DEADLINE_MS = 120_000;

/** What a machine is made of. A saved one can be resumed only with the same. */
export interface Hardware {
  readonly kernel: string;
  readonly initrd: string;
  /** Image files, raw. */
  readonly root: string;
  readonly program: string;
  readonly data: string;
}

export interface QemuOptions {
  /** Whatever the machine writes to its console is appended. */
  readonly console: string;
  /** A machine that was saved is resumed instead of booted. */
  readonly saved?: string;
}

/** A running emulator; it ends with this process. */
export class Qemu {
  readonly #child: ChildProcess;
  readonly #console: string;
  readonly #monitor: Monitor;

  private constructor(child: ChildProcess, console: string, monitor: Monitor) {
    this.#child = child;
    this.#console = console;
    this.#monitor = monitor;
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => appendFileSync(console, chunk));
    void once(child, 'close').then(() => monitor.close());
  }

  /** Settles when the emulator runs; the machine in it has only begun to. */
  static async start(hardware: Hardware, { console, saved }: QemuOptions): Promise<Qemu> {
    const monitor = await Monitor.open(`${console}.qmp`);
    const args = [
      ...argumentsOf(hardware),
      '-qmp',
      `unix:${monitor.path}`,
      ...(saved === undefined ? [] : ['-incoming', `exec:cat ${saved}`]),
    ];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...args], { env: { PATH: toolPath }, stdio: 'pipe' });
    const qemu = new Qemu(child, console, monitor);
    await qemu.within(monitor.connected(), 'started');
    return qemu;
  }

  /** Settles when the console has this line; fails when the machine ends or takes too long. */
  async says(text: string): Promise<void> {
    const said = Promise.withResolvers<void>();
    const { stdout } = this.#child;
    assert.ok(stdout);
    createInterface({ input: stdout }).on('line', (line) => line.trim() === text && said.resolve());
    await this.within(said.promise, `said ${text}`);
  }

  /** The result of `work`, which fails at once when the machine ends before it does. */
  async within<T>(work: Promise<T>, what: string): Promise<T> {
    const over = Promise.withResolvers<never>();
    const fail = (how: string) => over.reject(new Error(`the virtual machine ${how} ${what}; its console:\n${consoleText(this.#console)}`));
    const end = () => fail('ended before it');
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) end();
    this.#child.once('exit', end);
    const late = setTimeout(() => fail('has not'), DEADLINE_MS);
    try {
      return await Promise.race([work, over.promise]);
    } finally {
      clearTimeout(late);
      this.#child.off('exit', end);
    }
  }

  /** Types a line at the console. */
  type(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Settles when a machine that was saved goes on. */
  async resumed(): Promise<void> {
    const resumed = this.#monitor.hears('RESUME');
    const { status } = (await this.within(this.#monitor.ask('query-status'), 'told its state')) as { status: string };
    if (status !== 'running') await this.within(resumed, 'went on');
  }

  /** Writes the machine's memory and devices to a file; it stands still afterwards. */
  async save(file: string): Promise<void> {
    await this.#monitor.ask('migrate-set-parameters', { 'max-bandwidth': 2 ** 40 });
    const still = this.#monitor.hears('STOP');
    await this.#monitor.ask('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
    const completed = this.#monitor.hears('MIGRATION', { status: 'completed' });
    await this.#monitor.ask('migrate', { uri: `exec:cat > ${file}` });
    await this.within(Promise.all([still, completed]), 'was saved');
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'close');
    child.kill('SIGKILL');
    await gone;
  }
}

/** What a machine wrote, in lines. */
export function consoleText(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8').replaceAll('\r', '') : '';
}

function argumentsOf({ kernel, initrd, root, program, data }: Hardware): string[] {
  const disk = (file: string, more: string) => ['-drive', `file=${file},format=raw,if=virtio${more}`];
  return [
    ...`-M q35 -accel tcg,thread=multi -cpu max -smp 2 -m ${MEMORY_MB}`.split(' '),
    ...'-nodefaults -no-user-config -display none -no-reboot -serial stdio'.split(' '),
    ...'-netdev user,id=net -device virtio-net-pci,netdev=net,romfile='.split(' '),
    // Tells a machine that is resumed once more that it is another one: its random numbers are new ones.
    ...'-device vmgenid,guid=auto'.split(' '),
    ...disk(root, ',readonly=on'),
    ...disk(program, ',readonly=on'),
    ...disk(data, ',cache=writeback'),
    '-kernel',
    kernel,
    '-initrd',
    initrd,
    '-append',
    'console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on',
  ];
}
