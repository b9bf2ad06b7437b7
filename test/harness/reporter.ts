// A reporter for node:test: one JSON object a line, for each test that ended. run.ts reads them.
import { inspect } from 'node:util';
import type { TestEvent } from 'node:test/reporters';

export interface TestLine {
  /** Names from the outermost suite to the test. */
  readonly path: readonly string[];
  readonly outcome: 'passed' | 'failed' | 'skipped' | 'started';
  readonly ms: number;
  /** What failed, or why it was skipped. */
  readonly text: string;
}

interface Ended {
  readonly name: string;
  readonly nesting: number;
  readonly skip?: string | boolean | undefined;
  readonly todo?: string | boolean | undefined;
  readonly details: { readonly duration_ms: number; readonly type?: string | undefined; readonly error?: Error };
}

export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  /** The names of the tests that are open, by nesting. */
  const open: string[] = [];
  for await (const event of source) {
    if (event.type === 'test:start') {
      open.length = event.data.nesting;
      open.push(event.data.name);
      yield line({ path: [...open], outcome: 'started', ms: 0, text: '' });
    }
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const ended: Ended = event.data;
    const outcome = judge(event.type, ended);
    if (outcome !== undefined) {
      yield line({ path: [...open.slice(0, ended.nesting), ended.name], ms: Math.round(ended.details.duration_ms), ...outcome });
    }
  }
}

function judge(type: 'test:pass' | 'test:fail', ended: Ended): Pick<TestLine, 'outcome' | 'text'> | undefined {
  const error = ended.details.error;
  const failure = error === undefined ? undefined : (error.cause ?? error);
  if (ended.details.type === 'suite') {
    // A suite is no test; only what its own hooks throw is news.
    if (type === 'test:pass' || (error !== undefined && 'failureType' in error && error.failureType === 'subtestsFailed')) return undefined;
    return { outcome: 'failed', text: inspect(failure) };
  }
  if (ended.skip !== undefined && ended.skip !== false) {
    if (typeof ended.skip === 'string' && ended.skip.length > 0) return { outcome: 'skipped', text: ended.skip };
    return { outcome: 'failed', text: 'skipped without a reason' };
  }
  if (ended.todo !== undefined && ended.todo !== false) return { outcome: 'failed', text: 'a todo: write the test or leave it' };
  return type === 'test:pass' ? { outcome: 'passed', text: '' } : { outcome: 'failed', text: inspect(failure) };
}

function line(test: TestLine): string {
  return `${JSON.stringify(test)}\n`;
}
