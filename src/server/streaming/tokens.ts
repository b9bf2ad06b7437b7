import { createHash, randomBytes } from 'node:crypto';
import { Failure } from '../../errors/index.ts';

const TOKEN_BYTES = 32;
const VALID_MS = 60_000;
const MOST = 1000;

/**
 * Requests that wait for their client behind a token: 256 random bits, good for one use within a minute [E26, a65]. They are kept
 * under their digest, so that finding one takes as long for a near miss as for any other.
 */
export class Tokens<T> {
  readonly #waiting = new Map<string, { readonly request: T; readonly until: number }>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Fails with ResourceExhausted while 1000 wait. */
  issue(request: T): string {
    this.#forgetOld();
    if (this.#waiting.size >= MOST) {
      throw new Failure('ResourceExhausted', 'maximum number of in-flight requests exceeded', {
        advice: `${MOST} streaming URLs of the last minute wait for their clients: ask again later.`,
      });
    }
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    this.#waiting.set(digestOf(token), { request, until: this.#now() + VALID_MS });
    return token;
  }

  /** What the token stands for, once; undefined for one that is unknown, used or too old. */
  take(token: string): T | undefined {
    const key = digestOf(token);
    const found = this.#waiting.get(key);
    this.#waiting.delete(key);
    return found === undefined || found.until <= this.#now() ? undefined : found.request;
  }

  /** They stand in the order in which they end. */
  #forgetOld(): void {
    for (const [key, { until }] of this.#waiting) {
      if (until > this.#now()) return;
      this.#waiting.delete(key);
    }
  }
}

function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
