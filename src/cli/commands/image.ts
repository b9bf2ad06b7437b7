import { defineCommand, usage } from '../arguments.ts';
import type { AnyCommand } from '../command.ts';

/** What follows `crio image`, and the command that does it. */
const VERBS: Readonly<Record<string, { readonly args?: readonly string[]; load(): Promise<AnyCommand> }>> = {
  history: { load: async () => (await import('./history.ts')).history },
  inspect: { args: ['--type', 'image'], load: async () => (await import('./inspect.ts')).inspect },
  ls: { load: async () => (await import('./images.ts')).images },
  pull: { load: async () => (await import('./pull.ts')).pull },
  rm: { load: async () => (await import('./rmi.ts')).rmi },
};

export const image = defineCommand({
  words: `${Object.keys(VERBS).join('|')} [ARGUMENT...]`,
  count: [1, Infinity],
  verbatimAfter: 1,
  options: {},
  details: `For fingers that are used to it from other tools: the same as crio history, inspect --type image, images, pull and rmi, which know the
rest of the line.

  crio image inspect busybox`,
  async run({ words: [verb = '', ...rest] }, context) {
    const found = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (found === undefined) throw usage(`image takes ${Object.keys(VERBS).join(', ')}, not "${verb}"`);
    return await (await found.load()).execute([...(found.args ?? []), ...rest], context);
  },
});
