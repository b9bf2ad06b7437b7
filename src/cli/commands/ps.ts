import { Container, ContainerState, services, toJson } from '../../wire/index.ts';
import { defineCommand } from '../arguments.ts';
import { type ContainerTarget, listTargets, openConnection, select, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { formatAge, formatOf, outputOption, shortId, writeData, writeTable } from '../render/index.ts';
import { labelOption, labelSelector, listOptions } from './list-options.ts';

const STATES: Readonly<Record<number, string>> = {
  [ContainerState.CONTAINER_CREATED]: 'Created',
  [ContainerState.CONTAINER_RUNNING]: 'Running',
  [ContainerState.CONTAINER_EXITED]: 'Exited',
  [ContainerState.CONTAINER_UNKNOWN]: 'Unknown',
};

export const ps = defineCommand({
  words: '',
  count: [0, 0],
  options: {
    all: { type: 'boolean', short: 'a', help: 'Also containers that do not run.' },
    ...listOptions,
    ...labelOption,
    pod: { type: 'string', short: 'p', value: 'POD', help: 'Only containers of this pod, by id or name.' },
    ...outputOption,
    ...socketOption,
  },
  async run({ values }, { terminal, env }) {
    const format = formatOf(values.output);
    const wanted = labelSelector(values.label);
    using cri = openConnection(values.socket, env);
    const targets = await listTargets(cri);
    const pod =
      values.pod === undefined
        ? undefined
        : select(
            values.pod,
            targets.filter((target) => target.kind === 'pod'),
            'any',
          );
    const shown = targets
      .filter((target) => target.kind === 'container')
      .filter((target) => (values.all || target.live) && (pod === undefined || target.podId === pod.id))
      .filter(({ item }) => [...wanted].every(([key, value]) => item.labels.get(key) === value))
      .toSorted((a, b) => (a.createdAt > b.createdAt ? -1 : 1));
    if (values.quiet) for (const container of shown) terminal.out.line(container.id);
    else if (format !== 'table') writeData(terminal.out, format, { containers: shown.map(({ item }) => toJson(Container, item)) });
    else {
      const names = await imageNames();
      const now = Date.now();
      const rows = shown.map((target) => row(target, values['no-trunc'] ? target.id : shortId(target.id), imageOf(target, names), now));
      writeTable(terminal.out, ['CONTAINER', 'NAMESPACE', 'POD', 'NAME', 'IMAGE', 'STATE', 'ATTEMPT', 'CREATED'], rows);
    }
    return EXIT.ok;

    /** Names of images by id: containers mostly know theirs only by id. */
    async function imageNames(): Promise<ReadonlyMap<string, string>> {
      const { images } = await cri.call(services.ImageService.ListImages, {});
      return new Map(images.map((image) => [image.id.replace(/^sha256:/, ''), image.repoTags[0] ?? image.repoDigests[0] ?? '']));
    }
  },
});

function row(target: ContainerTarget, id: string, image: string, now: number): string[] {
  const state = STATES[target.item.state] ?? `(${target.item.state})`;
  const attempt = String(target.item.metadata?.attempt ?? 0);
  return [id, target.namespace, target.pod, target.container, image, state, attempt, formatAge(target.createdAt, now)];
}

function imageOf({ item }: ContainerTarget, names: ReadonlyMap<string, string>): string {
  const said = item.image?.userSpecifiedImage || (item.image?.image ?? item.imageRef);
  const name = names.get((item.imageId || said).replace(/^sha256:/, ''));
  if (/^(?:sha256:)?[0-9a-f]{64}$/.test(said)) return name || shortId(said);
  return said;
}
