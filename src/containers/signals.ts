import { constants } from 'node:os';

const NAMED = new Map<string, number>(Object.entries(constants.signals));
const RTMIN = 34;
const RTMAX = 64;

/**
 * The number of a stop signal: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, `RTMAX-1`, and CRI's `SIGRTMINPLUS3`,
 * `SIGRTMAXMINUS1` (which CRI-O takes for SIGTERM by mistake [D148]). Empty or unknown is SIGTERM [D147].
 */
export function signalNumber(text: string): number {
  const name = text.trim().toUpperCase().replace(/^SIG/, '');
  if (/^\d{1,2}$/.test(name)) {
    const number = Number(name);
    return number >= 1 && number <= RTMAX ? number : constants.signals.SIGTERM;
  }
  const realTime = /^(RTMIN|RTMAX)(?:(\+|-|PLUS|MINUS)(\d{1,2}))?$/.exec(name);
  if (realTime !== null) {
    const offset = Number(realTime[3] ?? 0) * (realTime[2] === '-' || realTime[2] === 'MINUS' ? -1 : 1);
    const number = (realTime[1] === 'RTMIN' ? RTMIN : RTMAX) + offset;
    return number >= RTMIN && number <= RTMAX ? number : constants.signals.SIGTERM;
  }
  return NAMED.get(`SIG${name}`) ?? constants.signals.SIGTERM;
}
