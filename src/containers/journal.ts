import { mkdir, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../files/index.ts';
import { step } from '../steps/index.ts';
import { type HexId, isHexId } from '../ids/index.ts';

/** What is about to be made under an id, as far as undoing it needs to know. Plain JSON. */
export interface Intent {
  readonly kind: 'sandbox' | 'container';
  readonly id: HexId;
  /** The handler's name as the request gave it. */
  readonly runtimeHandler: string;
  readonly logPath: string;
  /** Kind-specific facts of a sandbox: see pods/recover.ts. */
  readonly sandbox?: unknown;
}

/**
 * What is being made, known on disk before it is made: `<id>.json` below the run directory, from before the first step
 * until the object stands in the registry. What a start finds here was cut off by a crash and is undone. On a tmpfs: after a
 * reboot there is nothing left to undo but records, and those are found by themselves.
 */
export class Journal {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async prepare(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
  }

  /** Call `end` when the work is done or undone. */
  async begin(intent: Intent): Promise<{ readonly end: () => Promise<void> }> {
    const path = join(this.#directory, `${intent.id}.json`);
    await step('write intent', () => writeFileAtomic(path, JSON.stringify(intent), { sync: false }));
    return { end: () => step('end intent', () => rm(path, { force: true })) };
  }

  async forget(id: HexId): Promise<void> {
    await rm(join(this.#directory, `${id}.json`), { force: true });
  }

  /** What was begun and never ended, containers first: they stand in their pods. */
  async open(): Promise<Intent[]> {
    const intents: Intent[] = [];
    for (const name of await readdir(this.#directory)) {
      const id = name.replace(/\.json$/, '');
      if (!isHexId(id)) {
        await rm(join(this.#directory, name), { force: true }); // A write that was cut off: its work had not begun.
        continue;
      }
      intents.push(parseIntent(await readFile(join(this.#directory, name), 'utf8'), id));
    }
    return intents.toSorted((a, b) => a.kind.localeCompare(b.kind));
  }
}

/** An entry that cannot be read still names what it stood for: that much is undone, and the start goes on. */
function parseIntent(text: string, id: HexId): Intent {
  try {
    const intent = JSON.parse(text) as Partial<Intent> | null;
    if (intent?.id === id && (intent.kind === 'container' || intent.kind === 'sandbox'))
      return { runtimeHandler: '', logPath: '', ...intent, id, kind: intent.kind };
  } catch {
    // Written by somebody else, or by a file system that broke: see above.
  }
  return { kind: 'container', id, runtimeHandler: '', logPath: '' };
}
