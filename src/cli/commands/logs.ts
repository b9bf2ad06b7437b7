import { Failure } from '../../errors/index.ts';
import { ContainerState, services } from '../../wire/index.ts';
import { defineCommand, wholeNumber } from '../arguments.ts';
import { listTargets, openConnection, selectContainer, socketOption, waitForExit } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { LogPrinter, readLog } from '../logs/index.ts';

export const logs = defineCommand({
  words: 'POD[/CONTAINER]',
  count: [1, 1],
  options: {
    follow: { type: 'boolean', short: 'f', help: 'Go on with what is written from now on, until the container ends.' },
    tail: { type: 'string', short: 'n', value: 'LINES', help: 'Only the last lines.' },
    timestamps: { type: 'boolean', short: 't', help: 'Print when each line was written.' },
    raw: { type: 'boolean', help: 'Pass control characters through to the terminal.' },
    ...socketOption,
  },
  details: 'A pod stands for its container if it has only one. What was written to stderr is printed there.',
  async run({ values, words }, { terminal, env }) {
    const tail = values.tail === undefined ? undefined : wholeNumber('--tail', values.tail);
    const [word = ''] = words;
    using cri = openConnection(values.socket, env);
    const container = selectContainer(word, await listTargets(cri));
    const { status } = await cri.call(services.RuntimeService.ContainerStatus, { containerId: container.id });
    if (status === undefined || status.logPath === '') {
      throw new Failure('NotFound', `container ${container.id} has no log file`, { advice: 'Its pod was made without a log directory.' });
    }
    const stopWaiting = new AbortController();
    const follow = values.follow && status.state !== ContainerState.CONTAINER_EXITED;
    const until = follow ? waitForExit(cri, container.id, stopWaiting.signal) : undefined;
    const printer = new LogPrinter(terminal, { timestamps: values.timestamps, raw: values.raw });
    try {
      for await (const entry of readLog(status.logPath, { tail, until })) printer.print(entry);
    } finally {
      stopWaiting.abort();
    }
    return EXIT.ok;
  },
});
