import { Failure } from '../../errors/index.ts';
import { ContainerState, services } from '../../wire/index.ts';
import { defineCommand, wholeNumber } from '../arguments.ts';
import {
  type ContainerTarget,
  type CriConnection,
  containersOfPod,
  listTargets,
  openConnection,
  select,
  socketOption,
  waitForExit,
} from '../client/index.ts';
import { EXIT } from '../command.ts';
import { LogPrinter, type ReadOptions, mergeLogs, parseSince, readLog } from '../logs/index.ts';
import type { Style } from '../render/index.ts';

const STYLES: readonly Style[] = ['green', 'yellow', 'bold', 'red'];

export const logs = defineCommand({
  words: 'POD[/CONTAINER]...',
  count: [1, Infinity],
  options: {
    follow: { type: 'boolean', short: 'f', help: 'Go on with what is written from now on, until the containers end.' },
    tail: { type: 'string', short: 'n', value: 'LINES', help: 'Only the last lines of each.' },
    since: { type: 'string', value: 'TIME', help: 'Only what was written since: 10m, or 2026-01-02T15:04:05Z.' },
    timestamps: { type: 'boolean', short: 't', help: 'Print when each line was written.' },
    raw: { type: 'boolean', help: 'Pass control characters through to the terminal.' },
    ...socketOption,
  },
  details: `Prints what containers have written, with what the kubelet has rotated away before. What was written to stderr is printed there.
A pod stands for all its containers; of several, each line begins with the container's name, and lines are in the order of their times.`,
  async run({ values, words }, { terminal, env }) {
    const tail = values.tail === undefined ? undefined : wholeNumber('--tail', values.tail);
    const since = values.since === undefined ? undefined : parseSince(values.since, Date.now());
    using cri = openConnection(values.socket, env);
    const containers = await containersOf(words, cri);
    const stopWaiting = new AbortController();
    try {
      const sources = await Promise.all(
        containers.map(
          async (container) => await sourceOf(cri, container, { tail, since }, values.follow ? stopWaiting.signal : undefined),
        ),
      );
      const several = sources.length > 1;
      const printers = sources.map(({ name }, index) => {
        const paint = STYLES[index % STYLES.length];
        const prefixed = several ? { prefix: `${name} | `, ...(paint === undefined ? {} : { paint }) } : {};
        return new LogPrinter(terminal, { timestamps: values.timestamps, raw: values.raw, ...prefixed });
      });
      if (values.follow) {
        await Promise.all(
          sources.map(async ({ path, options }, index) => {
            for await (const entry of readLog(path, options)) await printers[index]?.print(entry);
          }),
        );
      } else {
        const all = mergeLogs(sources.map(({ path, options }) => readLog(path, options)));
        for await (const { log, entry } of all) await printers[log]?.print(entry);
      }
    } finally {
      stopWaiting.abort();
    }
    return EXIT.ok;
  },
});

/** A pod's containers, of each name the one that counts; each once. */
async function containersOf(words: readonly string[], cri: CriConnection): Promise<ContainerTarget[]> {
  const targets = await listTargets(cri);
  const found = new Map<string, ContainerTarget>();
  for (const word of words) {
    const target = select(word, targets, 'any');
    const containers = target.kind === 'container' ? [target] : newest(containersOfPod(target.id, targets));
    if (containers.length === 0)
      throw new Failure('NotFound', `pod "${word}" has no container`, { advice: 'crio ps -a lists all containers.' });
    for (const container of containers) found.set(container.id, container);
  }
  return [...found.values()];
}

function newest(containers: readonly ContainerTarget[]): ContainerTarget[] {
  const byName = new Map<string, ContainerTarget>();
  for (const container of containers) {
    const known = byName.get(container.container);
    if (known === undefined || container.createdAt > known.createdAt) byName.set(container.container, container);
  }
  return [...byName.values()];
}

interface Source {
  readonly name: string;
  readonly path: string;
  readonly options: ReadOptions;
}

async function sourceOf(
  cri: CriConnection,
  { id, container }: ContainerTarget,
  options: ReadOptions,
  following: AbortSignal | undefined,
): Promise<Source> {
  const { status } = await cri.call(services.RuntimeService.ContainerStatus, { containerId: id });
  if (status === undefined || status.logPath === '') {
    throw new Failure('NotFound', `container ${id} has no log file`, { advice: 'Its pod was made without a log directory.' });
  }
  const follow = following !== undefined && status.state !== ContainerState.CONTAINER_EXITED;
  const until = follow ? waitForExit(cri, id, following) : undefined;
  until?.catch(() => {}); // Told to whoever reads.
  return { name: container, path: status.logPath, options: { ...options, until } };
}
