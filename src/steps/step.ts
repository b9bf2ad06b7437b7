import { AsyncLocalStorage } from 'node:async_hooks';
import type { Operation, Span } from './operation.ts';

/** Where the code that runs now stands in its operation. The one thing of ours that follows a call without being handed on. */
const here = new AsyncLocalStorage<{ readonly operation: Operation; readonly span: Span | undefined }>();

/**
 * A named step of the operation under way: a bar of its timeline, and two points, its begin and its end, at which a test
 * may end the daemon. Steps may stand in each other and side by side. Outside an operation it is just its work.
 */
export async function step<T>(name: string, work: () => T | Promise<T>): Promise<T> {
  const place = here.getStore();
  if (place === undefined) return await work();
  const { operation } = place;
  const span = operation.begin(name, place.span);
  try {
    const result = await here.run({ operation, span }, work);
    operation.end(span);
    return result;
  } catch (error) {
    operation.fail(span);
    throw error;
  }
}

/** Tells that the step under way has started a helper process: a third point, at which the helper itself may be ended. */
export function helperStarted(pid: number): void {
  const place = here.getStore();
  if (place?.span !== undefined) place.operation.helperStarted(place.span, pid);
}

/** Runs `work` as that operation: the steps in it are the operation's. */
export async function within<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
  return await here.run({ operation, span: undefined }, work);
}
