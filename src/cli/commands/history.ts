import { Failure } from '../../errors/index.ts';
import { services } from '../../wire/index.ts';
import { defineCommand } from '../arguments.ts';
import { imageSpecMember, openConnection, ownMember, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { formatAge, formatOf, outputOption, writeData, writeTable } from '../render/index.ts';

const MAX_WIDTH = 80;

export const history = defineCommand({
  words: 'IMAGE',
  count: [1, 1],
  options: {
    'no-trunc': { type: 'boolean', help: 'Whole commands.' },
    ...outputOption,
    ...socketOption,
  },
  details: "The steps that the image's config tells of, the last one first.",
  async run({ values, words }, { terminal, env }) {
    const format = formatOf(values.output);
    const [word = ''] = words;
    using cri = openConnection(values.socket, env);
    const { image, info } = await cri.call(services.ImageService.ImageStatus, { image: { image: word }, verbose: true });
    if (image === undefined) throw new Failure('NotFound', `no image is called "${word}"`, { advice: 'crio images lists them.' });
    const steps = stepsOf(info).toReversed();
    if (format !== 'table')
      writeData(
        terminal.out,
        format,
        steps.map((step) => ({ ...step })),
      );
    else {
      const rows = steps.map(({ created, createdBy, comment, hasFiles }) => [
        ageOf(created),
        values['no-trunc'] || createdBy.length <= MAX_WIDTH ? createdBy : `${createdBy.slice(0, MAX_WIDTH - 1)}…`,
        hasFiles ? 'yes' : '',
        comment,
      ]);
      writeTable(terminal.out, ['CREATED', 'CREATED BY', 'LAYER', 'COMMENT'], rows);
    }
    return EXIT.ok;
  },
});

interface Step {
  readonly created: string;
  readonly createdBy: string;
  readonly comment: string;
  readonly hasFiles: boolean;
}

function stepsOf(info: ReadonlyMap<string, string>): readonly Step[] {
  const steps = imageSpecMember(info, 'history');
  if (!Array.isArray(steps)) return [];
  const text = (step: unknown, key: string) => {
    const found = ownMember(step, key);
    return typeof found === 'string' ? found : '';
  };
  return steps.map((step: unknown) => ({
    created: text(step, 'created'),
    createdBy: text(step, 'created_by'),
    comment: text(step, 'comment'),
    hasFiles: ownMember(step, 'empty_layer') !== true,
  }));
}

function ageOf(created: string): string {
  const time = Date.parse(created);
  return Number.isNaN(time) ? '' : formatAge(BigInt(time) * 1_000_000n, Date.now());
}
