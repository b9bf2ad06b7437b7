import { textOf } from '../errors/index.ts';
import { sendUnixDatagram } from '../linux/index.ts';
import type { Logger } from '../log/index.ts';

/** Tells systemd that we serve [O11]; without NOTIFY_SOCKET there is nobody to tell. */
export function notifyReady(env: Readonly<Record<string, string | undefined>>, log: Logger): void {
  const socket = env['NOTIFY_SOCKET'];
  if (socket === undefined || socket === '') return;
  try {
    sendUnixDatagram(socket, 'READY=1');
  } catch (error) {
    log.warn(`Failed to sd_notify systemd: ${textOf(error)}`);
  }
}
