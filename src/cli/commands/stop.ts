import { defineCommand, wholeNumber } from '../arguments.ts';
import { listTargets, openConnection, select, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { DEFAULT_GRACE_SECONDS, stopTarget } from '../pod/index.ts';
import { forEach } from './for-each.ts';

export const stop = defineCommand({
  words: 'POD[/CONTAINER]...',
  count: [1, Infinity],
  options: {
    timeout: {
      type: 'string',
      short: 't',
      value: 'SECONDS',
      help: `Kill after this time (default: the pod's grace period, else ${DEFAULT_GRACE_SECONDS}).`,
    },
    ...socketOption,
  },
  details: "A pod's containers are stopped together, then the pod itself. What is stopped already stays so.",
  async run({ values, words }, context) {
    const timeout = values.timeout === undefined ? undefined : wholeNumber('--timeout', values.timeout);
    using cri = openConnection(values.socket, context.env);
    const targets = await listTargets(cri);
    return await forEach(words, context, async (word) => {
      const target = select(word, targets, 'any');
      await stopTarget(cri, target, targets, timeout);
      context.terminal.out.line(target.id);
      return EXIT.ok;
    });
  },
});
