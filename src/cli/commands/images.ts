import { Image, services, toJson } from '../../wire/index.ts';
import { defineCommand, usage } from '../arguments.ts';
import { type CriConnection, imageSpecMember, openConnection, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import {
  type LayeredImage,
  formatOf,
  formatSize,
  layerTree,
  outputOption,
  shortId,
  treeLines,
  writeData,
  writeTable,
} from '../render/index.ts';
import { listOptions } from './list-options.ts';

export const images = defineCommand({
  words: '[NAME]',
  count: [0, 1],
  options: {
    ...listOptions,
    digests: { type: 'boolean', help: 'Show the digests, too.' },
    filter: {
      type: 'string',
      short: 'f',
      multiple: true,
      value: 'KEY=VALUE',
      help: 'dangling=true|false, pinned=true|false or reference=PATTERN; all must hold.',
    },
    tree: { type: 'boolean', help: 'Show which images stand on the same layers.' },
    ...outputOption,
    ...socketOption,
  },
  details: `With NAME only the image that NAME stands for is listed. A PATTERN is a whole name, in which * stands for anything.

  crio images --filter dangling=true -q | xargs crio rmi`,
  async run({ values, words }, { terminal, env }) {
    const format = formatOf(values.output);
    using cri = openConnection(values.socket, env);
    const [name] = words;
    const fits = filterOf(values.filter);
    const listed = await cri.call(services.ImageService.ListImages, name === undefined ? {} : { filter: { image: { image: name } } });
    const found = { images: listed.images.filter(fits) };
    if (values.tree) {
      if (values.quiet || values.digests || format !== 'table') throw usage('--tree is a form of its own: without -q, -o and --digests');
      for (const line of treeLines(layerTree(await layersOf(cri, found.images)))) terminal.out.line(line);
    } else if (values.quiet) for (const image of found.images) terminal.out.line(image.id);
    else if (format !== 'table') writeData(terminal.out, format, { images: found.images.map((image) => toJson(Image, image)) });
    else {
      const rows = found.images.flatMap((image) => rowsOf(image, values['no-trunc'], values.digests));
      rows.sort((a, b) => (a.join('\0') < b.join('\0') ? -1 : 1));
      writeTable(terminal.out, ['IMAGE', 'TAG', ...(values.digests ? ['DIGEST'] : []), 'IMAGE ID', 'SIZE', 'PINNED'], rows);
    }
    return EXIT.ok;
  },
});

/** An image that goes meanwhile is left out. */
async function layersOf(cri: CriConnection, images: readonly Image[]): Promise<LayeredImage[]> {
  const layered: LayeredImage[] = [];
  for (const { id, repoTags, size } of images) {
    const { image, info } = await cri.call(services.ImageService.ImageStatus, { image: { image: id }, verbose: true });
    const diffIds = imageSpecMember(info, 'rootfs', 'diff_ids');
    const known = Array.isArray(diffIds) ? diffIds.filter((diffId) => typeof diffId === 'string') : [];
    if (image !== undefined) layered.push({ id, names: repoTags, size, diffIds: known });
  }
  return layered.toSorted((a, b) => ((a.names[0] ?? a.id) < (b.names[0] ?? b.id) ? -1 : 1));
}

/** Whether an image fulfils all of these; usage Failure for one that is none. */
function filterOf(filters: readonly string[]): (image: Image) => boolean {
  const tests = filters.map((filter): ((image: Image) => boolean) => {
    const equals = filter.indexOf('=');
    const [key, value] = [filter.slice(0, Math.max(equals, 0)), filter.slice(equals + 1)];
    if (key === 'reference') {
      const pattern = new RegExp(
        `^${value
          .split('*')
          .map((part) => RegExp.escape(part))
          .join('.*')}$`,
        's',
      );
      return (image) => [...image.repoTags, ...image.repoDigests].some((name) => pattern.test(name));
    }
    if ((key !== 'dangling' && key !== 'pinned') || (value !== 'true' && value !== 'false'))
      throw usage(`--filter takes dangling=true, pinned=true (or false) or reference=PATTERN, not "${filter}"`);
    const wanted = value === 'true';
    return key === 'pinned' ? (image) => image.pinned === wanted : (image) => (image.repoTags.length === 0) === wanted;
  });
  return (image) => tests.every((test) => test(image));
}

/** One row a name: an image has as many as it has tags. */
function rowsOf(image: Image, full: boolean, digests: boolean): string[][] {
  const names = nameRows(image);
  const tail = [full ? image.id : shortId(image.id), formatSize(image.size), image.pinned ? 'yes' : ''];
  return names.map(({ repository, tag, digest }) => [repository, tag, ...(digests ? [digest] : []), ...tail]);
}

interface NameRow {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

function nameRows(image: Image): readonly NameRow[] {
  const digestOf = (repository: string): string => {
    const own = image.repoDigests.find((name) => name.startsWith(`${repository}@`));
    return own === undefined ? '<none>' : own.slice(own.indexOf('@') + 1);
  };
  if (image.repoTags.length > 0) {
    return image.repoTags.map((name) => {
      const colon = name.lastIndexOf(':');
      const repository = name.slice(0, colon);
      return { repository, tag: name.slice(colon + 1), digest: digestOf(repository) };
    });
  }
  if (image.repoDigests.length === 0) return [{ repository: '<none>', tag: '<none>', digest: '<none>' }];
  return image.repoDigests.map((name) => ({
    repository: name.slice(0, name.indexOf('@')),
    tag: '<none>',
    digest: name.slice(name.indexOf('@') + 1),
  }));
}
