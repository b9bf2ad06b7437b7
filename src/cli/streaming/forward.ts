import type { Duplex } from 'node:stream';
import { textOf } from '../../errors/index.ts';
import { Copy, SpdySession, requestUpgrade } from '../../streams/index.ts';

const PROTOCOL = 'portforward.k8s.io';

/** Connections into a pod, all over one connection to the streaming server. */
export class ForwardingSession {
  readonly #session: SpdySession;
  #requests = 0;

  private constructor(session: SpdySession) {
    this.#session = session;
  }

  static async open(connection: Duplex, url: URL): Promise<ForwardingSession> {
    const { head } = await requestUpgrade(connection, {
      method: 'POST',
      path: `${url.pathname}${url.search}`,
      host: url.host,
      headers: [
        ['Upgrade', 'SPDY/3.1'],
        ['X-Stream-Protocol-Version', PROTOCOL],
        ['Content-Length', '0'],
      ],
    });
    return new ForwardingSession(new SpdySession(connection, { role: 'client', head }));
  }

  get closed(): Promise<Error | undefined> {
    return this.#session.closed;
  }

  close(): void {
    this.#session.close();
  }

  /** Connects `local` with a port of the pod until both sides have ended; answers what the server says went wrong, '' for nothing. */
  async forward(local: Duplex, port: number): Promise<string> {
    local.on('error', () => {}); // It ends, which is passed on.
    const common = [
      ['port', String(port)],
      ['requestid', String(this.#requests++)],
    ] as const;
    const error = await this.#session.open(new Map([['streamtype', 'error'], ...common]));
    error.end();
    const data = await this.#session.open(new Map([['streamtype', 'data'], ...common]));
    void new Copy(local, data, { onBroken: 'close' }).done.then(() => (local.readableEnded ? data.end() : data.destroy()));
    void new Copy(data, local, { onBroken: 'close' }).done.then(() => local.end());
    const said: Buffer[] = [];
    try {
      for await (const part of error) said.push(part as Buffer);
    } catch (why) {
      return textOf(why);
    }
    return Buffer.concat(said).toString('utf8');
  }
}
