import { readFile, readdir, readlink } from 'node:fs/promises';
import { Failure, codeOf } from '../../errors/index.ts';
import { services } from '../../wire/index.ts';
import { defineCommand } from '../arguments.ts';
import { listTargets, openConnection, selectContainer, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { formatOf, outputOption, writeData, writeTable } from '../render/index.ts';

/** Clock ticks a second, as the kernel counts them for everybody. */
const TICKS = 100;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  readonly threads: number;
  /** Seconds of CPU time. */
  readonly time: number;
  readonly command: string;
}

export const top = defineCommand({
  words: 'POD[/CONTAINER]',
  count: [1, 1],
  options: { ...outputOption, ...socketOption },
  details: `Lists the processes in a container's PID namespace, as the node sees them: PIDs and user ids are the node's. A pod that shares its
PID namespace shows all its processes. The container needs no ps program.`,
  async run({ values, words }, { terminal, env }) {
    const format = formatOf(values.output);
    const [word = ''] = words;
    using cri = openConnection(values.socket, env);
    const { id } = selectContainer(word, await listTargets(cri));
    const { info } = await cri.call(services.RuntimeService.ContainerStatus, { containerId: id, verbose: true });
    const processes = await processesBeside(id, pidOf(info.get('info')));
    if (format !== 'table')
      writeData(
        terminal.out,
        format,
        processes.map((process) => ({ ...process })),
      );
    else {
      writeTable(
        terminal.out,
        ['PID', 'PARENT', 'UID', 'THREADS', 'TIME', 'COMMAND'],
        processes.map(({ pid, parent, uid, threads, time, command }) => [pid, parent, uid, threads, time.toFixed(2), command].map(String)),
      );
    }
    return EXIT.ok;
  },
});

/** CRI-O and containerd write it into the same place. */
function pidOf(info: string | undefined): number | undefined {
  if (info === undefined) return undefined;
  const { pid } = JSON.parse(info) as { readonly pid?: unknown };
  return typeof pid === 'number' && pid > 0 ? pid : undefined;
}

async function processesBeside(id: string, init: number | undefined): Promise<Process[]> {
  const namespace = init === undefined ? undefined : await namespaceOf(String(init));
  if (namespace === undefined) {
    throw new Failure('FailedPrecondition', `container ${id} has no process here`, {
      advice: 'It has ended, or runs on another node: run this command on the node, as root.',
    });
  }
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const all = await Promise.all(names.map(async (name) => ((await namespaceOf(name)) === namespace ? await processOf(name) : undefined)));
  return all.filter((process) => process !== undefined).toSorted((a, b) => a.pid - b.pid);
}

/** Undefined for a process that has gone. */
async function namespaceOf(pid: string): Promise<string | undefined> {
  return await orGone(readlink(`/proc/${pid}/ns/pid`));
}

async function processOf(pid: string): Promise<Process | undefined> {
  const [stat, status, command] = await Promise.all([
    orGone(readFile(`/proc/${pid}/stat`, 'utf8')),
    orGone(readFile(`/proc/${pid}/status`, 'utf8')),
    orGone(readFile(`/proc/${pid}/cmdline`, 'utf8')),
  ]);
  if (stat === undefined || status === undefined || command === undefined) return undefined;
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
  return {
    pid: Number(pid),
    parent: fields[1] ?? 0,
    uid: Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1]),
    threads: fields[17] ?? 1,
    time: ((fields[11] ?? 0) + (fields[12] ?? 0)) / TICKS,
    command: command === '' ? `[${name}]` : command.replace(/\0$/, '').replaceAll('\0', ' '),
  };
}

async function orGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
}
