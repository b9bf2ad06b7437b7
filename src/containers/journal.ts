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
  /** `linux.cgroupsPath`: its monitor's cgroup stands beside it. */
  readonly cgroupsPath?: string;
  /** Images that it mounts as volumes: each may have one user too many. */
  readonly imageVolumes?: readonly HexId[];
  /** Kind-specific facts of a sandbox: see pods/recover.ts. */
  readonly sandbox?: unknown;
}

/**
 * What is being made, known on disk before it is made: `<id>.json` below the run directory, from before the first step
 * until the object stands whole on disk. What a start finds here was cut off by a crash and is undone; what could not be
 * undone when its creation failed stays here as debris, and is tried again (pods/debris.ts). On a tmpfs: after a
 * reboot there is nothing left to undo but records, and those are found by themselves.
 */
export class Journal {
  readonly #directory: string;
  /** Told of what could not be undone, before its creation is answered. */
  onDebris: (intent: Intent, leftovers: readonly string[]) => Promise<void> = async () => {};

  constructor(directory: string) {
    this.#directory = directory;
  }

  async prepare(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
  }

  async begin(intent: Intent): Promise<JournalEntry> {
    const entry = new JournalEntry(this, intent);
    await step('write intent', () => this.write(intent));
    return entry;
  }

  async write(intent: Intent): Promise<void> {
    await writeFileAtomic(this.#path(intent.id), JSON.stringify(intent), { sync: false });
  }

  async forget(id: HexId): Promise<void> {
    await rm(this.#path(id), { force: true });
  }

  #path(id: HexId): string {
    return join(this.#directory, `${id}.json`);
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

/** One creation under way. */
export class JournalEntry {
  readonly #journal: Journal;
  #intent: Intent;
  /** Two volumes are noted one after the other. */
  #writing: Promise<void> = Promise.resolve();

  constructor(journal: Journal, intent: Intent) {
    this.#journal = journal;
    this.#intent = intent;
  }

  /** Call it before an image is mounted as a volume. */
  async willMount(image: HexId): Promise<void> {
    this.#intent = { ...this.#intent, imageVolumes: [...(this.#intent.imageVolumes ?? []), image] };
    const intent = this.#intent;
    this.#writing = this.#writing.then(() => this.#journal.write(intent));
    await this.#writing;
  }

  /** The work is done, or undone but for `leftovers`: those stay, and are taken away as soon as they can be. */
  async end(leftovers: readonly string[] = []): Promise<void> {
    if (leftovers.length === 0) await step('end intent', () => this.#journal.forget(this.#intent.id));
    else await this.#journal.onDebris(this.#intent, leftovers);
  }
}
