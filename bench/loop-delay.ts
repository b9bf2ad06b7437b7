import { existsSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { LOOP_DELAY_FILE, type Peer } from './peers.ts';

/** The 99th percentile in seconds, since it was asked last; undefined for who does not tell. */
export async function loopDelay({ machine, name }: Peer): Promise<number | undefined> {
  if (name !== 'ours') return undefined;
  const file = machine.path(LOOP_DELAY_FILE);
  const told = existsSync(file) ? Number(readFileSync(file, 'utf8')) / 1000 : undefined;
  rmSync(file, { force: true });
  while (!existsSync(file)) await delay(20);
  return told;
}
