import { Failure, textOf } from '../../errors/index.ts';
import { type Context, EXIT } from '../command.ts';
import { printable } from '../render/index.ts';

/**
 * Does the same for every word and goes on where one fails; the failures are told as they come. A single word's
 * failure, and one that all would share (no daemon), is thrown instead.
 */
export async function forEach(words: readonly string[], context: Context, work: (word: string) => Promise<number>): Promise<number> {
  let code: number = EXIT.ok;
  for (const word of words) {
    try {
      code = Math.max(code, await work(word));
    } catch (error) {
      if (words.length === 1 || (error instanceof Failure && error.kind === 'Unavailable')) throw error;
      const { err } = context.terminal;
      err.line(`${err.paint('red', 'crio:')} ${printable(word)}: ${textOf(error).split('\n').map(printable).join('\n')}`);
      code = EXIT.failed;
    }
  }
  return code;
}
