import { textOf } from '../errors/index.ts';
import { DirectoryWatch, type ProcessWatcher, type Readiness } from '../linux/index.ts';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isHexId } from '../ids/index.ts';
import type { Container } from './container.ts';
import type { ContainerContext } from './context.ts';
import { takeExit } from './exit.ts';
import { initIsAlive } from './liveness.ts';
import { isLive } from './state.ts';

/**
 * How the end of a container becomes known, each way an event: its monitor's file in the exits directory [D172], the end of its
 * process, and the end of its monitor, which then tells of nothing more (p08, p09). Start it before the first container is
 * created or restored, then `scan` once: files that came while nobody looked are handled too.
 */
export class ExitWatcher {
  readonly #ctx: ContainerContext;
  readonly #readiness: Readiness;
  readonly #processes: ProcessWatcher;
  #files: DirectoryWatch | undefined;
  readonly #under = new Set<Promise<void>>();

  constructor(ctx: ContainerContext, readiness: Readiness, processes: ProcessWatcher) {
    this.#ctx = ctx;
    this.#readiness = readiness;
    this.#processes = processes;
  }

  start(): void {
    this.#files = new DirectoryWatch(this.#readiness, this.#ctx.exitsDir, {
      // conmon's temporary names are `<id>.XXXXXX`: only a bare id counts.
      file: (name) => {
        if (isHexId(name)) this.#exitWasReported(name);
      },
      overflow: () => {
        this.#ctx.log.warn(`More exits in ${this.#ctx.exitsDir} than the kernel's queue holds: reading the directory`);
        void this.scan().catch((error) => this.#ctx.log.error(`Reading ${this.#ctx.exitsDir} failed: ${textOf(error)}`));
      },
    });
  }

  /** Exits that nobody has taken yet; files of containers that are not ours any more are removed. */
  async scan(): Promise<void> {
    for (const name of await readdir(this.#ctx.exitsDir)) {
      if (!isHexId(name)) continue;
      if (this.#ctx.registry.monitored(name) === undefined) await rm(join(this.#ctx.exitsDir, name), { force: true });
      else this.#exitWasReported(name);
    }
  }

  /** From now on the ends of its process and of its monitor are noticed. One that runs without a monitor is reported [D176, D177]. */
  watch(container: Container): void {
    const { init, monitor } = container;
    if (init === undefined || !isLive(container.state)) return;
    try {
      const watched = { init: this.#processes.watch(init.pid, init.startTime), monitor: undefined };
      container.watched = watched;
      if (watched.init === undefined) return this.#take(container);
      void watched.init.ended.then(() => this.#take(container));
      this.#watchMonitor(container);
    } catch (error) {
      this.#ctx.log.error(
        `Watching the processes of container ${container.id} (${init.pid}, monitor ${monitor?.pid}) failed, only its monitor tells of its end: ${textOf(error)}`,
      );
    }
  }

  /** Ends the watch and waits for what is under way. */
  async stop(): Promise<void> {
    this.#files?.close();
    await Promise.all(this.#under);
  }

  #watchMonitor(container: Container): void {
    const { monitor, watched } = container;
    if (watched === undefined) return;
    watched.monitor = monitor === undefined ? undefined : this.#processes.watch(monitor.pid, monitor.startTime);
    if (watched.monitor === undefined) return this.#monitorEnded(container);
    void watched.monitor.ended.then(() => this.#monitorEnded(container));
  }

  /** In the ordinary way, after it has written how the container ended. */
  #monitorEnded(container: Container): void {
    if (container.removed || !isLive(container.state)) return;
    if (!initIsAlive(container)) return this.#take(container);
    const { id, name } = container.facts;
    this.#ctx.log.error(
      `The monitor of container ${id} (${name}) has ended, the container runs on: its output is lost and attach does not work. Restart the container to have it monitored again; what killed conmon may be in the kernel's log.`,
    );
  }

  #exitWasReported(id: string): void {
    const container = this.#ctx.registry.monitored(id);
    if (container === undefined) return;
    container.exitReported.resolve();
    this.#take(container);
  }

  #take(container: Container): void {
    const work = takeExit(this.#ctx, container)
      .catch((error) => this.#ctx.log.error(`Handling the exit of container ${container.id} failed: ${textOf(error)}`))
      .finally(() => this.#under.delete(work));
    this.#under.add(work);
  }
}
