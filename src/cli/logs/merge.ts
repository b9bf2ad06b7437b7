import type { LogEntry } from './parse.ts';

/** Entries of several logs in the order of their times; of each in its own. */
export async function* mergeLogs(
  logs: readonly AsyncIterable<LogEntry>[],
): AsyncGenerator<{ readonly log: number; readonly entry: LogEntry }> {
  const iterators = logs.map((log) => log[Symbol.asyncIterator]());
  const heads = await Promise.all(iterators.map(async (iterator) => await iterator.next()));
  for (;;) {
    let first = -1;
    for (const [index, head] of heads.entries()) {
      if (head.done !== true && (first < 0 || timeOf(head.value) < timeOf(heads[first]?.value as LogEntry))) first = index;
    }
    const [head, iterator] = [heads[first], iterators[first]];
    if (head === undefined || iterator === undefined || head.done === true) return;
    yield { log: first, entry: head.value };
    heads[first] = await iterator.next();
  }
}

/** One zone on one node: the text sorts as the time does, to the nanosecond. */
function timeOf({ time }: LogEntry): string {
  return time;
}
