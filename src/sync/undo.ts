import type { Logger } from '../log/index.ts';
import { textOf } from '../errors/index.ts';

/**
 * Named undo steps, run in reverse order. Register the undo in the statement after the acquisition.
 * A failing undo is logged and the rest still runs; `leftovers` names what could not be undone.
 *
 *     const undo = new UndoStack(log);
 *     try { await mount(); undo.push('unmount', () => unmount()); …; undo.release(); }
 *     catch (error) { await undo.run(); throw error; }
 */
export class UndoStack {
  readonly #steps: { readonly name: string; readonly undo: () => unknown }[] = [];
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  push(name: string, undo: () => unknown): void {
    this.#steps.push({ name, undo });
  }

  /** Success: what was made stays. */
  release(): void {
    this.#steps.length = 0;
  }

  /** Undoes everything, on its own clock (never a request's signal). Answers the names of the steps that failed. */
  async run(): Promise<readonly string[]> {
    const leftovers: string[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        leftovers.push(step.name);
        this.#log.error(`Undoing failed: ${step.name}: ${textOf(error)}`);
      }
    }
    return leftovers;
  }
}
