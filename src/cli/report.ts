/** The one place where a failure of a command becomes text and exit code. */
import { Failure, adviceOf, textOf } from '../errors/index.ts';
import { EXIT } from './command.ts';
import type { CommandEntry } from './commands/index.ts';
import { type Output, printable } from './render/index.ts';

/** Says what went wrong and what to do about it; answers the exit code. */
export function reportFailure(err: Output, error: unknown, entry: CommandEntry): number {
  const usage = error instanceof Failure && error.code === 'usage';
  const lines = [`${err.paint('red', usage ? `crio ${entry.name}:` : 'crio:')} ${safeLines(textOf(error))}`];
  const advice = adviceOf(error);
  if (advice !== undefined) lines.push(safeLines(advice));
  if (usage) lines.push(`See crio ${entry.name} --help.`);
  err.line(lines.join('\n'));
  return usage ? EXIT.usage : EXIT.failed;
}

/** The daemon's and CRI-O's way of ending: one fatal log line [A20, A21]; on a terminal for people. */
export function fatalLine(err: Output, error: unknown): string {
  const advice = adviceOf(error);
  if (err.interactive)
    return `${err.paint('red', 'crio:')} ${safeLines(textOf(error))}\n${advice === undefined ? '' : `${safeLines(advice)}\n`}`;
  const time = `${new Date().toISOString().slice(0, -1)}000000Z`;
  const fields = advice === undefined ? '' : ` advice=${JSON.stringify(advice)}`;
  return `time="${time}" level=fatal msg=${JSON.stringify(textOf(error))}${fields}\n`;
}

/** Line breaks of our own messages stay, whatever else a quoted foreign text brings does not. */
function safeLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}
