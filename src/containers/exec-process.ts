import { randomUUID } from 'node:crypto';
import { watch } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure, codeOf } from '../errors/index.ts';
import { stringifyExactJson } from '../files/index.ts';
import type { Container } from './container.ts';
import { membersOf, processStat } from '../linux/index.ts';
import type { ExecFiles } from '../oci/runtime/index.ts';
import { type OciIdMapping, type OciSpec, hostOwner } from '../oci/spec/index.ts';
import { describeDeadInit, initIsAlive } from './liveness.ts';
import { runtimePath } from './platform.ts';

/** Fails where no command can be started in the container [E2, E3, E14]. */
export function refuseExec(container: Container, command: readonly string[]): void {
  if (!initIsAlive(container)) throw new Failure('NotFound', `container is not created or running: ${describeDeadInit(container)}`);
  if (command.length === 0) throw new Failure('InvalidArgument', 'exec command cannot be empty');
}

/** Writes the command as the container's own process with other arguments [E6], for as long as `use` runs. */
export async function withExecFiles<T>(
  container: Container,
  command: readonly string[],
  terminal: boolean,
  use: (files: ExecFiles) => Promise<T>,
): Promise<T> {
  // On the run directory's tmpfs, and gone with it whatever happens.
  const base = join(container.facts.runDirectory, `exec-${randomUUID()}`);
  const files = { process: `${base}.json`, pid: `${base}.pid` };
  try {
    const description = { ...container.facts.spec.process, terminal, args: [...command] };
    await writeFile(files.process, stringifyExactJson(description), { mode: 0o600 });
    return await use({ ...files, path: runtimePath(container.facts.spec, container.facts.runtime) });
  } finally {
    await Promise.all(Object.values(files).map((file) => rm(file, { force: true })));
  }
}

/** The runtime writes the file when the command has started; there is none if it could not be. */
export async function pidOf(pidFile: string): Promise<number | undefined> {
  try {
    const pid = Number(await readFile(pidFile, 'utf8'));
    return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * As `pidOf`, of a command that is just being started: waits until it has, for so many milliseconds at most, or until `over` settles.
 * A command may say its first word before its runtime has written the file.
 */
export async function pidWhenStarted(pidFile: string, ms: number, over: Promise<unknown>): Promise<number | undefined> {
  let changed = Promise.withResolvers<void>();
  let waiting = true;
  const stop = () => {
    waiting = false;
    changed.resolve();
  };
  const watcher = watch(dirname(pidFile), { persistent: false }, () => changed.resolve());
  watcher.on('error', stop);
  const timer = setTimeout(stop, ms);
  void over.then(stop, stop);
  try {
    for (;;) {
      const last = !waiting;
      const pid = await pidOf(pidFile);
      if (pid !== undefined || last) return pid;
      await changed.promise;
      changed = Promise.withResolvers<void>();
    }
  } finally {
    clearTimeout(timer);
    watcher.close();
  }
}

/** A command that runs, and the group that it and its children are in: its own under runc, under crun the one that crun leads. */
export interface CommandGroup {
  readonly pid: number;
  readonly group: number;
}

export function commandGroup(pid: number): CommandGroup {
  return { pid, group: processStat(pid)?.group ?? pid };
}

export function isRunning({ pid }: CommandGroup): boolean {
  const state = processStat(pid)?.state;
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** Signals a command and what is in its group, but not the runtime that waits for it. */
export function signalCommand({ pid, group }: CommandGroup, signal: NodeJS.Signals): void {
  if (group === pid) return signalEach([-pid, pid], signal);
  signalEach(
    membersOf('group', group).filter((member) => member !== group),
    signal,
  );
}

/** SIGKILL to a command and all of its group, a waiting runtime among them: it would only report the end. */
export function killCommandGroup({ pid, group }: CommandGroup): void {
  signalEach([-group, pid], 'SIGKILL');
}

/** As far as they still are. */
export function signalEach(targets: readonly number[], signal: NodeJS.Signals): void {
  for (const target of targets) {
    try {
      process.kill(target, signal);
    } catch (error) {
      if (codeOf(error) !== 'ESRCH') throw error;
    }
  }
}

/** The container's user as this user namespace knows it: whose a command's pipes must be to be opened again, as /dev/stdout is. */
export function userOutside({ process, linux }: OciSpec): { readonly uid: number; readonly gid: number } {
  const ranges = (maps: readonly OciIdMapping[] = []) =>
    maps.map(({ containerID, hostID, size }) => ({ containerId: containerID, hostId: hostID, length: size }));
  return hostOwner(process.user, { uids: ranges(linux.uidMappings), gids: ranges(linux.gidMappings) });
}
