import { defineCommand } from '../arguments.ts';
import { EXIT } from '../command.ts';

/** A containerd shim calls us as its event publisher; there is nothing to publish to [A217]. */
export const publish = defineCommand({
  words: '',
  count: [0, Infinity],
  options: {
    topic: { type: 'string', help: 'Accepted and ignored.' },
    namespace: { type: 'string', help: 'Accepted and ignored.' },
  },
  run: () => Promise.resolve(EXIT.ok),
});
