/** Stays with a pod until its containers have ended, and prints what they write. */
import { type CriConnection, waitForExit } from '../client/index.ts';
import { LogPrinter, readLog } from '../logs/index.ts';
import type { Terminal } from '../render/index.ts';
import type { RunningContainer } from './launch.ts';

/** The exit code of the first container that ended with one other than 0, in the manifest's order; else 0. */
export async function attend(cri: CriConnection, containers: readonly RunningContainer[], terminal: Terminal): Promise<number> {
  const width = Math.max(...containers.map(({ name }) => name.length));
  const codes = await Promise.all(
    containers.map(async (container) => {
      const exit = waitForExit(cri, container.id);
      const prefix = containers.length > 1 ? `${container.name.padEnd(width)} | ` : '';
      await Promise.all([exit, printLog(container, terminal, { prefix, until: exit })]);
      return (await exit).exitCode;
    }),
  );
  return codes.find((code) => code !== 0) ?? 0;
}

/** The container's log, to its end as it is now or until `until` settles. */
export async function printLog(
  container: RunningContainer,
  terminal: Terminal,
  options: { readonly prefix: string; readonly until?: Promise<unknown>; readonly tail?: number },
): Promise<void> {
  if (container.logPath === '') return;
  const printer = new LogPrinter(terminal, { prefix: options.prefix });
  for await (const entry of readLog(container.logPath, options)) await printer.print(entry);
}
