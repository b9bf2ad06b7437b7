import type { ContainerRegistry } from '../../../containers/index.ts';
import { Failure, textOf, wrap } from '../../../errors/index.ts';
import type {
  AttachRequest,
  AttachResponse,
  ExecRequest,
  ExecResponse,
  PortForwardRequest,
  PortForwardResponse,
} from '../../../wire/index.ts';
import type { StreamingServer } from '../../streaming/index.ts';
import type { Handler } from '../rpc.ts';

/** Exec, Attach and PortForward answer where their client finds its streams [E20–E26]; what is wrong with the target shows there. */
export function execUrl(server: StreamingServer, containers: ContainerRegistry): Handler<ExecRequest, ExecResponse> {
  return async ({ containerId, cmd, tty, stdin, stdout, stderr }) => {
    checkStreams('exec', containerId, { tty, stdin, stdout, stderr });
    const id = idOf(containers, containerId);
    const request = { kind: 'exec', containerId: id, command: cmd, tty, stdin, stdout, stderr } as const;
    return { url: prepare('exec', () => server.urlFor(request)) };
  };
}

export function attachUrl(server: StreamingServer, containers: ContainerRegistry): Handler<AttachRequest, AttachResponse> {
  return async ({ containerId, tty, stdin, stdout, stderr }) => {
    checkStreams('attach', containerId, { tty, stdin, stdout, stderr });
    const id = idOf(containers, containerId);
    return { url: prepare('attach', () => server.urlFor({ kind: 'attach', containerId: id, tty, stdin, stdout, stderr })) };
  };
}

/** The pod is looked up by who comes with the URL [E21]. */
export function portForwardUrl(server: StreamingServer): Handler<PortForwardRequest, PortForwardResponse> {
  return async ({ podSandboxId, port }) => {
    if (podSandboxId === '') throw unprepared('portforward', new Failure('InvalidArgument', 'missing required pod_sandbox_id'));
    return { url: prepare('portforward', () => server.urlFor({ kind: 'portforward', podId: podSandboxId, ports: [...port] })) };
  };
}

interface WantedStreams {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** [E22] */
function checkStreams(kind: 'exec' | 'attach', containerId: string, { tty, stdin, stdout, stderr }: WantedStreams): void {
  const refuse = (text: string) => {
    throw unprepared(kind, new Failure('InvalidArgument', text));
  };
  if (containerId === '') refuse('missing required container_id');
  if (tty && stderr) refuse('tty and stderr cannot both be true');
  if (!stdin && !stdout && !stderr) refuse(`one of stdin, stdout, ${kind === 'exec' ? 'or' : 'and'} stderr must be set`);
}

/** [E20]: no NotFound, as CRI-O has it. */
function idOf(containers: ContainerRegistry, containerId: string): string {
  try {
    return containers.find(containerId).id;
  } catch (error) {
    throw new Failure('Unknown', `could not find container "${containerId}": ${textOf(error)}`, { cause: error });
  }
}

function prepare(kind: string, issue: () => string): string {
  try {
    return issue();
  } catch (error) {
    throw unprepared(kind, error);
  }
}

/** [E23]; for attach and port-forward too, where CRI-O keeps the reason to itself [E24]. */
function unprepared(kind: string, error: unknown): Failure {
  const failure = wrap('rpc error', error);
  return new Failure(failure.kind, `unable to prepare ${kind} endpoint: rpc error: code = ${failure.kind} desc = ${textOf(error)}`, {
    cause: error,
  });
}
