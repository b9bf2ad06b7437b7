import { readFile } from 'node:fs/promises';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import { services } from '../../wire/index.ts';
import { defineCommand } from '../arguments.ts';
import { type CriConnection, listTargets, openConnection, select, socketOption } from '../client/index.ts';
import { type Context, EXIT } from '../command.ts';
import { type Pod, parseManifest } from '../manifest/index.ts';
import {
  DEFAULT_STATE_DIR,
  type RunningPod,
  attend,
  launchPod,
  printLog,
  removePod,
  removePodFiles,
  stateDirOption,
  stopTarget,
} from '../pod/index.ts';
import { type Output, printable, progressBoard } from '../render/index.ts';

/** How much of the log of an init container that failed is shown before it goes with its pod. */
const INIT_LOG_LINES = 20;

export const run = defineCommand({
  words: 'MANIFEST',
  count: [1, 1],
  options: {
    detach: { type: 'boolean', short: 'd', help: 'Print the id of the pod and leave it running.' },
    rm: { type: 'boolean', help: 'Remove the pod when its containers have ended.' },
    quiet: { type: 'boolean', short: 'q', help: 'Do not show how pulls go.' },
    ...stateDirOption,
    ...socketOption,
  },
  details: `Starts the Kubernetes Pod that the file MANIFEST describes (- is standard input), prints what its containers write
until all have ended, and ends with the first exit code that is not 0. Ctrl-C stops the pod, a second one kills it.

Missing images are pulled; init containers run first, one after another. Nothing is restarted: restartPolicy is for a
kubelet. A field that cannot be honoured is refused by its path. A kubelet on the same socket removes such pods.

  crio run --rm pod.yaml
  kubectl run web --image=nginx --dry-run=client -o yaml | crio run -d -`,
  async run({ values, words }, context) {
    if (values.detach && values.rm)
      throw new Failure('InvalidArgument', '--rm needs somebody who waits: it excludes --detach', { code: 'usage' });
    const { terminal, env } = context;
    const pod = parseManifest(await manifestText(words[0] ?? '', context));
    const stateDir = values['state-dir'] ?? DEFAULT_STATE_DIR;
    using cri = openConnection(values.socket, env);
    using interrupts = new Interrupts();
    const running = await launchPod(cri, pod, {
      stateDir,
      board: (image) => (values.quiet ? undefined : progressBoard(terminal.err, image)),
      onInitFailure: (container) => printLog(container, terminal, { prefix: `${container.name} | `, tail: INIT_LOG_LINES }),
      signal: interrupts.signal,
    });
    if (values.detach) {
      tellRestarts(pod, context);
      terminal.out.line(running.id);
      return EXIT.ok;
    }
    interrupts.onEach((count) => void stopPod(cri, running, count === 1 ? undefined : 0, terminal.err));
    const code = await attend(cri, running.containers, terminal);
    if (values.rm) {
      await removePod(cri, running.id);
      await removePodFiles(stateDir, running.uid);
    } else await cri.call(services.RuntimeService.StopPodSandbox, { podSandboxId: running.id });
    return code;
  },
});

async function manifestText(file: string, context: Context): Promise<string> {
  if (file === '-') return await context.readInput();
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new Failure('NotFound', `cannot read ${file}: ${codeOf(error) ?? 'unknown error'}`, { cause: error });
  }
}

function tellRestarts({ spec }: Pod, { terminal }: Context): void {
  if (spec.restartPolicy === 'Always' || spec.restartPolicy === 'OnFailure') {
    terminal.err.line(`crio: restartPolicy ${spec.restartPolicy}: without a kubelet nobody restarts the containers of this pod`);
  }
}

async function stopPod(cri: CriConnection, pod: RunningPod, seconds: number | undefined, err: Output): Promise<void> {
  try {
    const targets = await listTargets(cri);
    await stopTarget(cri, select(pod.id, targets, 'any'), targets, seconds);
  } catch (error) {
    err.line(`crio: could not stop the pod: ${printable(textOf(error))}`);
  }
}

/** Ctrl-C and TERM: before the pod runs they end its start, then they stop it. */
class Interrupts implements Disposable {
  readonly #abort = new AbortController();
  #count = 0;
  #then: ((count: number) => void) | undefined;

  constructor() {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, this.#receive);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** From now on each signal calls `then` with how many have come since. */
  onEach(then: (count: number) => void): void {
    this.#count = 0;
    this.#then = then;
  }

  [Symbol.dispose](): void {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, this.#receive);
  }

  readonly #receive = (): void => {
    this.#count++;
    if (this.#then === undefined) this.#abort.abort(new Failure('Canceled', 'interrupted: the pod was not started'));
    else this.#then(this.#count);
  };
}
