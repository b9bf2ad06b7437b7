import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { codeOf } from '../../errors/index.ts';

/** What a runtime knows of a container: its init process by PID and start time (field 22 of /proc/PID/stat), and whether that was started. */
export interface RuntimeView {
  readonly started: boolean;
  readonly pid: number;
  readonly startTime: string;
}

/**
 * What runc (`<root>/<id>/state.json`) and crun (`<root>/<id>/status`) keep of a container for themselves; undefined where they know none.
 * Both hold `exec.fifo` there until the container is started. Saves an execution of the runtime for each container at a start (p31).
 */
export function readOwnState(runtimePath: string, root: string, id: string): RuntimeView | undefined {
  const isCrun = basename(runtimePath).startsWith('crun');
  const directory = join(root, id);
  const file = join(directory, isCrun ? 'status' : 'state.json');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const json = parse(text);
  const pid = json[isCrun ? 'pid' : 'init_process_pid'];
  const startTime = json[isCrun ? 'process-start-time' : 'init_process_start'];
  if (typeof pid !== 'number' || pid <= 0 || typeof startTime !== 'number') return undefined;
  return { started: !existsSync(join(directory, 'exec.fifo')), pid, startTime: String(startTime) };
}

/** A file that the runtime was writing when the node lost power says nothing. */
function parse(text: string): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(text);
    return json !== null && typeof json === 'object' ? (json as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
