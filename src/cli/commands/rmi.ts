import { Failure } from '../../errors/index.ts';
import { services } from '../../wire/index.ts';
import { defineCommand } from '../arguments.ts';
import { type CriConnection, openConnection, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { printable } from '../render/index.ts';
import { forEach } from './for-each.ts';

export const rmi = defineCommand({
  words: 'IMAGE...',
  count: [1, Infinity],
  options: {
    ...socketOption,
  },
  details: 'IMAGE is a name, a digest, or the beginning of an id. Images that a container uses are refused by the runtime.',
  async run({ values, words }, context) {
    using cri = openConnection(values.socket, context.env);
    return await forEach(words, context, async (word) => {
      const id = await imageId(cri, word);
      await cri.call(services.ImageService.RemoveImage, { image: { image: word } });
      context.terminal.out.line(`${printable(word)}  ${id}`);
      return EXIT.ok;
    });
  },
});

/** RemoveImage succeeds for images that do not exist; people want to hear that they mistyped. */
async function imageId(cri: CriConnection, word: string): Promise<string> {
  const { image } = await cri.call(services.ImageService.ImageStatus, { image: { image: word } });
  if (image === undefined) throw new Failure('NotFound', `no image is called "${word}"`, { advice: 'crio images lists them.' });
  return image.id;
}
