import { type AuthConfig, type MessageInput, type PodSandboxConfig, services } from '../../wire/index.ts';
import type { ProgressBoard, PullProgress } from '../render/index.ts';
import type { CriConnection } from './connection.ts';
import { pullEvents } from './pull-events.ts';

export interface PullOptions {
  readonly auth?: MessageInput<AuthConfig> | undefined;
  readonly sandboxConfig?: MessageInput<PodSandboxConfig>;
  readonly runtimeHandler?: string;
  /** Where progress is shown; it is closed at the end. */
  readonly board?: ProgressBoard | undefined;
  /** Where progress comes from; the daemon's own stream unless told otherwise. */
  readonly progress?: (signal: AbortSignal) => PullProgress;
}

/**
 * Pulls an image, however long that takes; answers what the runtime calls it now. Failures are the runtime's.
 */
export async function pullImage(cri: CriConnection, image: string, options: PullOptions = {}): Promise<string> {
  const { board, progress = (signal) => pullEvents(cri.socket, image, signal) } = options;
  const ended = new AbortController();
  const shown = board === undefined ? undefined : show(progress(ended.signal), board);
  try {
    const spec = { image, runtimeHandler: options.runtimeHandler };
    const request = { image: spec, auth: options.auth, sandboxConfig: options.sandboxConfig };
    const answer = await cri.call(services.ImageService.PullImage, request, { deadlineMs: 0 });
    return answer.imageRef;
  } finally {
    ended.abort();
    await shown;
    board?.close();
  }
}

async function show(progress: PullProgress, board: ProgressBoard): Promise<void> {
  for await (const event of progress) board.update(event);
}
