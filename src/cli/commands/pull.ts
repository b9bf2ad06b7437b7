import { Image, services, toJson } from '../../wire/index.ts';
import { defineCommand, usage } from '../arguments.ts';
import { type CriConnection, openConnection, pullImage, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import {
  type Terminal,
  formatElapsed,
  formatOf,
  formatSize,
  outputOption,
  printable,
  progressBoard,
  shortId,
  writeData,
} from '../render/index.ts';
import { forEach } from './for-each.ts';

export const pull = defineCommand({
  words: 'IMAGE...',
  count: [1, Infinity],
  options: {
    quiet: { type: 'boolean', short: 'q', help: 'Print only what the runtime calls the image now.' },
    username: { type: 'string', short: 'u', value: 'NAME', help: 'User at the registry; the password comes on standard input.' },
    ...outputOption,
    ...socketOption,
  },
  details: `Registries, mirrors and stored credentials are those of the daemon.

  crio pull docker.io/library/busybox:latest
  crio pull --username me registry.example.com/app < password.txt`,
  async run({ values, words }, context) {
    const format = formatOf(values.output);
    const auth = values.username === undefined ? undefined : { username: values.username, password: (await context.readInput()).trimEnd() };
    if (auth?.password === '') throw usage('--username wants the password on standard input');
    using cri = openConnection(values.socket, context.env);
    const { terminal } = context;
    return await forEach(words, context, async (image) => {
      const started = performance.now();
      const imageRef = await pullImage(cri, image, { auth, board: values.quiet ? undefined : progressBoard(terminal.err, image) });
      if (values.quiet) terminal.out.line(printable(imageRef));
      else await tell(cri, terminal, format, { image, imageRef, elapsedMs: performance.now() - started });
      return EXIT.ok;
    });
  },
});

interface Pulled {
  readonly image: string;
  readonly imageRef: string;
  readonly elapsedMs: number;
}

async function tell(cri: CriConnection, terminal: Terminal, format: ReturnType<typeof formatOf>, pulled: Pulled): Promise<void> {
  const { image } = await cri.call(services.ImageService.ImageStatus, { image: { image: pulled.imageRef } });
  if (format !== 'table') {
    writeData(terminal.out, format, { imageRef: pulled.imageRef, ...(image === undefined ? {} : { image: toJson(Image, image) }) });
    return;
  }
  const size = image === undefined ? '' : `, ${formatSize(image.size)}`;
  // An image may have names in other repositories, too.
  const names = image?.repoDigests ?? [];
  const own = names.find(
    (name) => /^[:@]/.test(`${pulled.image}:`.slice(name.indexOf('@'))) && pulled.image.startsWith(name.split('@', 1)[0] ?? name),
  );
  const digest = own ?? names[0] ?? pulled.imageRef;
  terminal.out.line(printable(`${digest}  (id ${shortId(image?.id ?? pulled.imageRef)}${size}, ${formatElapsed(pulled.elapsedMs)})`));
}
