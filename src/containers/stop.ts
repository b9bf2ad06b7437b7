import { processStat, signalProcess } from '../linux/index.ts';
import { kindOf, textOf } from '../errors/index.ts';
import { thaw } from '../resources/index.ts';
import { step } from '../steps/index.ts';
import { orAborted, within } from '../sync/index.ts';
import { type Container, subjectOf } from './container.ts';
import type { ContainerContext } from './context.ts';
import { takeExit } from './exit.ts';
import { initIsAlive } from './liveness.ts';
import { signalNumber } from './signals.ts';
import { isLive } from './state.ts';

const SIGKILL = 9;
/** Between two tries to kill what does not die. */
const KILL_BACKOFF_MS = { first: 20, most: 2 * 60 * 1000 };
const REPORT_EVERY_MS = 60_000;
/** A start or an update that still holds the container's lock when its process has long ended: its runtime hangs (p07). */
const HUNG_RUNTIME_MS = 1000;

/**
 * StopContainer [D136–D149]: stop signal, grace period, then SIGKILL until it is gone. The first call starts one loop for
 * the container, not bound to any request; each call gives it its grace period (seconds; ≤ 0 is at once), which can
 * only bring the end nearer, and waits for the end or its own signal. A container that does not run is success; one
 * that was never started is killed at once. It waits for no exec, and for a hanging runtime or monitor a few seconds only.
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
  const ended = container.ended;
  // What was never started has nothing to bring to an end, and crun's waiting process, first of its PID namespace, would not hear of a TERM.
  if (container.state.status !== 'created') {
    if (container.state.status === 'paused') await resume(ctx, container);
    await askToEnd(ctx, container, grace, ended);
  }
  if (initIsAlive(container)) await step('kill', () => killLoop(ctx, container, ended));
  const hung = setTimeout(() => container.facts.runtime.interrupt(container.id), HUNG_RUNTIME_MS);
  try {
    await takeExit(ctx, container);
  } finally {
    clearTimeout(hung);
  }
}

/** The stop signal, and the time that it gives. */
async function askToEnd(ctx: ContainerContext, container: Container, grace: GracePeriod, ended: Promise<void>): Promise<void> {
  const number = signalNumber(container.facts.stopSignal);
  await step('signal', () => send(container, number)).catch((error) =>
    ctx.log.warn(`Sending signal ${number} to container ${container.id} failed, waiting for its time to be over: ${textOf(error)}`),
  );
  await step('grace period', async () => {
    while (!grace.isOver() && !(await grace.wait(ended))) continue;
  });
  if (initIsAlive(container)) ctx.log.warn(`Stopping container ${container.id} with stop signal(${number}) timed out. Killing...`);
}

/** By the runtime; a hanging or failing one is no reason to let it stay frozen, where no signal reaches it. */
async function resume(ctx: ContainerContext, container: Container): Promise<void> {
  const { id, runtime } = container.facts;
  try {
    await runtime.resume(id, { toStop: true });
  } catch (error) {
    ctx.log.error(`Failed to resume paused container ${id} to stop it: ${textOf(error)}`);
    thawItself(ctx, container);
  }
}

async function killLoop(ctx: ContainerContext, container: Container, ended: Promise<void>): Promise<void> {
  container.beingKilled = true;
  let pause = KILL_BACKOFF_MS.first;
  let reportAt = Date.now() + REPORT_EVERY_MS;
  while (initIsAlive(container)) {
    await send(container, SIGKILL).catch((error) =>
      ctx.log.error(`Killing container ${container.id} failed, trying again: ${textOf(error)}`),
    );
    if (await within(Math.min(pause, reportAt - Date.now()), ended)) return;
    if (pause === KILL_BACKOFF_MS.first) thawItself(ctx, container);
    pause = Math.min(pause * 2, KILL_BACKOFF_MS.most);
    if (Date.now() < reportAt) continue;
    reportAt += REPORT_EVERY_MS;
    reportUnkillable(ctx, container);
  }
}

/** Somebody else may have frozen it, and nobody told us. */
function thawItself(ctx: ContainerContext, container: Container): void {
  const { init, id, facts } = container;
  if (init === undefined || !facts.runtime.signalsDirectly) return;
  try {
    if (thaw(init.pid, id)) ctx.log.warn(`Container ${id} was frozen: thawed its cgroup to stop it`);
  } catch (error) {
    ctx.log.error(`Failed to thaw the cgroup of container ${id}: ${textOf(error)}`);
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
    if (kindOf(error) !== 'NotFound') throw error;
    // Its monitor is about to say so. Without one only the runtime knows: the sandbox, whose process is its init, runs on.
    container.goneForRuntime = container.watched?.monitor?.hasEnded !== false;
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
  #shortened = Promise.withResolvers<void>();

  shorten(deadlineMs: number): void {
    if (deadlineMs >= this.#deadline) return;
    this.#deadline = deadlineMs;
    this.#shortened.resolve();
    this.#shortened = Promise.withResolvers();
  }

  /** Until it is over or shortened; true if that has happened before. */
  async wait(ended: Promise<void>): Promise<boolean> {
    let happened = false;
    const end = ended.then(() => (happened = true));
    await within(Math.min(LONGEST_TIMER_MS, Math.max(0, this.#deadline - Date.now())), end, this.#shortened.promise);
    return happened;
  }

  isOver(): boolean {
    return Date.now() >= this.#deadline;
  }
}

/** A longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
