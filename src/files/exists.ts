import { stat } from 'node:fs/promises';

/** Whether something is at that path, links followed. Fails on anything but "no such file". */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
