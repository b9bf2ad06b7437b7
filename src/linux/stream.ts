import { Socket } from 'node:net';

/** libuv's stream over any descriptor that can be polled. */
interface PipeHandle {
  open(fd: number): number;
}
type PipeConstructor = new (type: number) => PipeHandle;

/**
 * A duplex over a descriptor that Node's own classes refuse: a terminal's master, a SOCK_SEQPACKET socket (each read is one packet, each
 * write makes one). Owns the descriptor from here on. A terminal whose other side has gone ends with EIO.
 */
export function streamOf(fd: number): Socket {
  const binding = (process as unknown as { binding(name: 'pipe_wrap'): { Pipe: PipeConstructor; constants: { SOCKET: number } } }).binding(
    'pipe_wrap',
  );
  const handle = new binding.Pipe(binding.constants.SOCKET);
  const error = handle.open(fd);
  if (error !== 0) throw new Error(`file descriptor ${fd} cannot be polled: ${error}`);
  return new Socket({ handle, allowHalfOpen: true } as unknown as { allowHalfOpen: boolean });
}
