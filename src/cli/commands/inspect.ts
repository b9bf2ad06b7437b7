import { Failure, kindOf } from '../../errors/index.ts';
import { ContainerStatus, Image, type Json, PodSandboxStatus, services, toJson } from '../../wire/index.ts';
import { defineCommand, usage } from '../arguments.ts';
import { type CriConnection, type Target, listTargets, openConnection, select, socketOption } from '../client/index.ts';
import { EXIT } from '../command.ts';
import { formatOf, writeData } from '../render/index.ts';
import { showTimelines } from './timeline.ts';

const TYPES = ['pod', 'container', 'image'] as const;
type Type = (typeof TYPES)[number];

export const inspect = defineCommand({
  words: 'POD[/CONTAINER]|IMAGE...',
  count: [1, Infinity],
  options: {
    type: { type: 'string', short: 't', value: 'TYPE', help: 'pod, container or image; found out by itself.' },
    timeline: { type: 'boolean', help: 'What was done to a pod and its containers, step by step (crio only).' },
    output: { type: 'string', short: 'o', value: 'FORMAT', help: 'json (the default) or yaml.' },
    ...socketOption,
  },
  details:
    'Prints the status and, below "info", what the runtime adds in its verbose answer. Several words print a list.\n--timeline takes a pod, or the full id of one that was removed a short while ago.',
  async run({ values, words }, context) {
    const { terminal, env } = context;
    if (values.timeline) return await showTimelines(values.socket, words, formatOf(values.output, 'table'), context);
    const format = formatOf(values.output, 'json');
    if (format === 'table') throw usage('inspect prints json or yaml');
    const type = TYPES.find((known) => known === values.type);
    if (type === undefined && values.type !== undefined) throw usage(`--type takes ${TYPES.join(', ')}, not "${values.type}"`);
    using cri = openConnection(values.socket, env);
    const targets = type === 'image' ? [] : await listTargets(cri);
    const found: Json[] = [];
    for (const word of words) found.push(await describe(cri, word, type, targets));
    const [only] = found;
    writeData(terminal.out, format, found.length === 1 && only !== undefined ? only : found);
    return EXIT.ok;
  },
});

/** A pod or container of that name comes before an image. */
async function describe(cri: CriConnection, word: string, type: Type | undefined, targets: readonly Target[]): Promise<Json> {
  if (type === 'image') return await describeImage(cri, word);
  try {
    return await describeTarget(cri, select(word, type === undefined ? targets : targets.filter((target) => target.kind === type), 'any'));
  } catch (error) {
    if (type !== undefined || kindOf(error) !== 'NotFound') throw error;
  }
  return await describeImage(cri, word);
}

async function describeTarget(cri: CriConnection, target: Target): Promise<Json> {
  if (target.kind === 'pod') {
    const answer = await cri.call(services.RuntimeService.PodSandboxStatus, { podSandboxId: target.id, verbose: true });
    return merged(answer.status === undefined ? {} : toJson(PodSandboxStatus, answer.status), answer.info);
  }
  const answer = await cri.call(services.RuntimeService.ContainerStatus, { containerId: target.id, verbose: true });
  return merged(answer.status === undefined ? {} : toJson(ContainerStatus, answer.status), answer.info);
}

async function describeImage(cri: CriConnection, word: string): Promise<Json> {
  const answer = await cri.call(services.ImageService.ImageStatus, { image: { image: word }, verbose: true });
  if (answer.image === undefined) {
    throw new Failure('NotFound', `no pod, container or image is called "${word}"`, {
      advice: 'crio pods, crio ps -a and crio images list them.',
    });
  }
  return merged(toJson(Image, answer.image), answer.info);
}

/** The values of `info` are JSON by habit, not by contract: what parses is put in as data. */
function merged(status: Json, info: ReadonlyMap<string, string>): Json {
  return { status, info: Object.fromEntries([...info].map(([key, value]) => [key, parsed(value)])) };
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}
