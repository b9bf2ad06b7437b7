import { processStat, signalProcess } from '../linux/index.ts';
import { codeOf, textOf } from '../errors/index.ts';
import { step } from '../steps/index.ts';
import { orAborted } from '../sync/index.ts';
import { type Container, subjectOf } from './container.ts';
import type { ContainerContext } from './context.ts';
import { takeExit } from './exit.ts';
import { initIsAlive } from './liveness.ts';
import { signalNumber } from './signals.ts';
import { isLive } from './state.ts';

const SIGKILL = 9;
/** Between looks at a process whose monitor may have died: its end then shows nowhere else. */
const LOOK_EVERY_MS = 250;
const KILL_BACKOFF_MS = { first: 20, most: 2 * 60 * 1000 };
const REPORT_EVERY_MS = 60_000;

/**
 * StopContainer [D136–D149]: stop signal, grace period, then SIGKILL until it is gone. The first call starts one loop for
 * the container, not bound to any request; each call gives it its grace period (seconds; ≤ 0 is at once), which can
 * only bring the end nearer, and waits for the end or its own signal. A container that does not run is success; one
 * that was never started is killed at once.
 */
export async function stopContainer(
  ctx: ContainerContext,
  container: Container,
  graceSeconds: number,
  signal?: AbortSignal,
): Promise<void> {
  if (!isLive(container.state)) return;
  if (container.stopping === undefined) {
    const grace = new GracePeriod();
    const done = ctx.tracer
      .operation('StopContainer', subjectOf(container), () => stopLoop(ctx, container, grace))
      .finally(() => {
        container.stopping = undefined;
      });
    done.catch(() => {});
    container.stopping = { shorten: (deadline) => grace.shorten(deadline), done };
  }
  container.stopping.shorten(Date.now() + Math.max(0, graceSeconds) * 1000);
  await orAborted(container.stopping.done, signal);
}

async function stopLoop(ctx: ContainerContext, container: Container, grace: GracePeriod): Promise<void> {
  const { id, runtime, stopSignal } = container.facts;
  void container.exited.then(() => grace.wake()); // Once: a reaction per look would stay with the promise for days.
  if (container.state.status === 'paused') {
    await runtime.resume(id).catch((error) => ctx.log.error(`Failed to resume paused container ${id} to stop it: ${textOf(error)}`));
  }
  if (container.state.status === 'created') {
    // It has nothing to bring to an end, and crun's waiting process, first of its PID namespace, would not hear of a TERM.
    await step('kill', () => killLoop(ctx, container, grace));
    return await takeExit(ctx, container);
  }
  const number = signalNumber(stopSignal);
  await step('signal', () => send(container, number));
  await step('grace period', async () => {
    while (initIsAlive(container) && !grace.isOver()) await grace.sleep(Math.min(LOOK_EVERY_MS, grace.left()));
  });
  if (initIsAlive(container)) {
    ctx.log.warn(`Stopping container ${id} with stop signal(${number}) timed out. Killing...`);
    await step('kill', () => killLoop(ctx, container, grace));
  }
  await takeExit(ctx, container);
}

async function killLoop(ctx: ContainerContext, container: Container, grace: GracePeriod): Promise<void> {
  container.beingKilled = true;
  let pause = KILL_BACKOFF_MS.first;
  let reportAt = Date.now() + REPORT_EVERY_MS;
  while (initIsAlive(container)) {
    await send(container, SIGKILL).catch((error) =>
      ctx.log.error(`Killing container ${container.id} failed, trying again: ${textOf(error)}`),
    );
    await grace.sleep(Math.min(pause, LOOK_EVERY_MS));
    pause = Math.min(pause * 2, KILL_BACKOFF_MS.most);
    if (Date.now() < reportAt) continue;
    reportAt += REPORT_EVERY_MS;
    reportUnkillable(ctx, container);
  }
}

/** runc's and crun's containers are signalled directly, others through their runtime (design: a sandbox's PID is not the container's). */
async function send(container: Container, number: number): Promise<void> {
  const { init } = container;
  const { id, runtime } = container.facts;
  if (runtime.signalsDirectly) {
    if (init !== undefined) signalProcess(init.pid, init.startTime, number);
    return;
  }
  try {
    await runtime.kill(id, number === SIGKILL ? 'KILL' : String(number));
  } catch (error) {
    if (initIsAlive(container) && codeOf(error) !== 'ESRCH') throw error;
  }
}

function reportUnkillable(ctx: ContainerContext, container: Container): void {
  const state = container.init === undefined ? undefined : processStat(container.init.pid)?.state;
  const text = `Container ${container.id} cannot be killed: its process ${container.init?.pid} is in state ${state ?? 'unknown'}`;
  if (state === 'D') ctx.log.error(`${text} (uninterruptible sleep)`);
  else ctx.log.warn(text);
}

/** A deadline that starts in the far future and only comes nearer [D141]. */
class GracePeriod {
  #deadline = Number.POSITIVE_INFINITY;
  #wake: () => void = () => {};

  shorten(deadlineMs: number): void {
    if (deadlineMs >= this.#deadline) return;
    this.#deadline = deadlineMs;
    this.wake();
  }

  /** So long, or until it is shortened or woken. */
  async sleep(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
  }

  wake(): void {
    this.#wake();
  }

  left(): number {
    return Math.max(0, this.#deadline - Date.now());
  }

  isOver(): boolean {
    return Date.now() >= this.#deadline;
  }
}
