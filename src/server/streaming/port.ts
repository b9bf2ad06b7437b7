import { readFileSync } from 'node:fs';
import { Failure, codeOf } from '../../errors/index.ts';

/** A port as number or as name of a TCP service [E30, B27]; InvalidArgument `lookup tcp/<name>: unknown port` otherwise. */
export function streamingPort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65535) return Number(text);
  const found = /^\d+$/.test(text) ? undefined : servicePort(text);
  if (found !== undefined) return found;
  const why = /^\d+$/.test(text) ? `address ${text}: invalid port` : `lookup tcp/${text}: unknown port`;
  throw new Failure('InvalidArgument', why, {
    advice: 'Set stream_port to a number up to 65535, to a name of /etc/services, or to 0 for any free port.',
  });
}

/** services(5): `name port/protocol alias… # comment` */
function servicePort(name: string): number | undefined {
  let text: string;
  try {
    text = readFileSync('/etc/services', 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  for (const line of text.split('\n')) {
    const [first, port, ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/);
    const [number, protocol] = port?.split('/') ?? [];
    if (protocol === 'tcp' && (first === name || aliases.includes(name))) return Number(number);
  }
  return undefined;
}
