import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../errors/index.ts';
import { processStat } from '../linux/index.ts';
import type { Point, Witness } from './operation.ts';

/**
 * Points at which tests end the daemon, end a helper or fail a step. Only a daemon that was started with
 * CRIO_TEST_FAULTS=DIR has them: `DIR/passed` gets a line `<point> <path>` for every point, and `DIR/at` with a line
 * `<action> <point> <path>` says what happens at the first time that the point is passed: `kill` and `pause` (SIGKILL, SIGSTOP to the
 * daemon), `kill-helper@MS` and `stop-helper` (SIGKILL so many milliseconds later, SIGSTOP to what the step has just started, with
 * all its group), `fail` (the step fails).
 */
export function faultsFrom(directory: string): Witness {
  const passed = join(directory, 'passed');
  const at = join(directory, 'at');
  return (point, path, pid) => {
    appendFileSync(passed, `${point} ${path}\n`);
    const action = existsSync(at) ? actionAt(readFileSync(at, 'utf8').trim(), point, path) : undefined;
    if (action === undefined) return;
    rmSync(at);
    perform(action, path, pid);
  };
}

function actionAt(text: string, point: Point, path: string): string | undefined {
  const [action, ...where] = text.split(' ');
  return where.join(' ') === `${point} ${path}` ? action : undefined;
}

function perform(action: string, path: string, pid: number | undefined): void {
  const [what, ms] = action.split('@');
  if (what === 'kill') process.kill(process.pid, 'SIGKILL');
  else if (what === 'pause') process.kill(process.pid, 'SIGSTOP');
  else if (what === 'fail') throw new Failure('Internal', `a test made ${path} fail`);
  else if (what === 'kill-helper' && pid !== undefined) killGroup(pid, Number(ms ?? 0));
  else if (what === 'stop-helper' && pid !== undefined) process.kill(-pid, 'SIGSTOP');
  else throw new Failure('Internal', `no action "${action}" at ${path}`);
}

function killGroup(pid: number, afterMs: number): void {
  if (afterMs > 0) setTimeout(() => killGroup(pid, 0), afterMs);
  else if (processStat(pid) !== undefined) process.kill(-pid, 'SIGKILL');
}
