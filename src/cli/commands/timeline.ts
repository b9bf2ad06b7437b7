import type { Json } from '../../wire/index.ts';
import { type Target, type TimelineOperation, listTargets, openConnection, select, socketPath, timelineOf } from '../client/index.ts';
import { type Context, EXIT } from '../command.ts';
import { type Format, shortId, writeData, writeWaterfall } from '../render/index.ts';

const FULL_ID = /^[0-9a-f]{64}$/;

/** `crio inspect --timeline`: a waterfall for each operation, or the daemon's own data as JSON or YAML. */
export async function showTimelines(
  socketOption: string | undefined,
  words: readonly string[],
  format: Format,
  { terminal, env }: Context,
): Promise<number> {
  using cri = openConnection(socketOption, env);
  const targets = await listTargets(cri);
  const timelines = [];
  for (const word of words) timelines.push(await timelineOf(socketPath(socketOption, env), podOf(word, targets)));
  if (format !== 'table') {
    writeData(terminal.out, format, timelines.flat() as unknown as Json);
    return EXIT.ok;
  }
  const names = new Map(targets.map((target) => [target.id, target.kind === 'pod' ? target.pod : target.container]));
  for (const operation of timelines.flat()) show(operation, names, terminal.out);
  return EXIT.ok;
}

/** A container stands for its pod; a pod that is no more is known by its full id only. */
function podOf(word: string, targets: readonly Target[]): string {
  if (FULL_ID.test(word) && !targets.some(({ id }) => id === word)) return word;
  const target = select(word, targets, 'any');
  return target.kind === 'pod' ? target.id : target.podId;
}

function show(operation: TimelineOperation, names: ReadonlyMap<string, string>, out: Context['terminal']['out']): void {
  const id = operation.container ?? operation.pod;
  const totalMs = operation.tookMs ?? operation.runningMs ?? 0;
  const ended = operation.tookMs === undefined ? 'running for' : operation.error === undefined ? 'took' : 'failed after';
  const heading = `${operation.operation} ${names.get(id) ?? shortId(id)}, ${operation.startedAt}, ${ended} ${totalMs.toFixed(1)} ms`;
  out.line(out.paint('bold', heading));
  if (operation.error !== undefined) out.line(`  ${operation.error}`);
  writeWaterfall(out, totalMs, operation.steps);
  out.line('');
}
