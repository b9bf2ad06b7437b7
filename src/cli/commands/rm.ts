import { Failure } from '../../errors/index.ts';
import { services } from '../../wire/index.ts';
import { defineCommand } from '../arguments.ts';
import { type CriConnection, type Target, fullName, listTargets, openConnection, select, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { DEFAULT_STATE_DIR, removePod, removePodFiles, stateDirOption, stopTarget } from '../pod/index.ts';
import { forEach } from './for-each.ts';

export const rm = defineCommand({
  words: 'POD[/CONTAINER]...',
  count: [1, Infinity],
  options: {
    force: { type: 'boolean', short: 'f', help: 'Kill what still runs.' },
    ...stateDirOption,
    ...socketOption,
  },
  details: 'A pod goes with all its containers, and with the emptyDir volumes that crio run made for it.',
  async run({ values, words }, context) {
    using cri = openConnection(values.socket, context.env);
    const targets = await listTargets(cri);
    return await forEach(words, context, async (word) => {
      const target = select(word, targets, 'any', false);
      await removeTarget(cri, target, targets, values.force);
      if (target.kind === 'pod') await removePodFiles(values['state-dir'] ?? DEFAULT_STATE_DIR, target.item.metadata?.uid ?? '');
      context.terminal.out.line(target.id);
      return EXIT.ok;
    });
  },
});

async function removeTarget(cri: CriConnection, target: Target, targets: readonly Target[], force: boolean): Promise<void> {
  if (target.live && !force) {
    throw new Failure('FailedPrecondition', `${target.kind} ${fullName(target)} is running`, {
      advice: `Stop it first (crio stop ${target.id.slice(0, 13)}), or kill and remove it with --force.`,
    });
  }
  if (target.live) await stopTarget(cri, target, targets, 0);
  if (target.kind === 'pod') {
    // A pod that is not ready may still have its network: stopping is what gives that back.
    await removePod(cri, target.id);
  } else {
    await cri.call(services.RuntimeService.RemoveContainer, { containerId: target.id });
  }
}
