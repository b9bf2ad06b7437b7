import { createHash, createPrivateKey, randomUUID, sign } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { type Server, createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type Pair, pemOf } from './certificates.ts';

/** What was asked of the token server. */
export interface TokenAsked {
  readonly method: string;
  readonly query: URLSearchParams;
  /** Of a POST. */
  readonly form: URLSearchParams;
  readonly authorization: string | undefined;
}

/** A token server as docker-registry's `auth: token` wants one: JWTs, signed by a certificate that the registry trusts. */
export class TokenServer {
  readonly asked: TokenAsked[] = [];
  /** Seconds that a token says it lives. */
  expiresIn = 300;
  /** Whether tokens are signed by somebody whom the registry trusts. */
  isTrusted = true;
  readonly #server: Server;
  readonly #signer: Pair;
  readonly #accounts: ReadonlyMap<string, string>;

  constructor(tls: Pair, signer: Pair, accounts: ReadonlyMap<string, string>) {
    this.#signer = signer;
    this.#accounts = accounts;
    this.#server = createServer(pemOf(tls), (request, response) => {
      void this.#answer(request).then(([status, body]) => {
        response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
      });
    });
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get realm(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage): Promise<[number, object]> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const query = new URL(request.url ?? '', 'https://x').searchParams;
    const form = new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
    const { authorization } = request.headers;
    this.asked.push({ method: request.method ?? '', query, form, authorization });
    const [user = '', password] = Buffer.from((authorization ?? '').replace('Basic ', ''), 'base64')
      .toString('utf8')
      .split(':');
    const isKnown = this.#accounts.get(user) === password || this.#accounts.get('refresh') === form.get('refresh_token');
    if (!isKnown || (password === undefined && form.get('refresh_token') === null))
      return [401, { details: 'incorrect username or password' }];
    const source = request.method === 'POST' ? form : query;
    return [200, { token: this.#token(source.get('service') ?? '', source.getAll('scope')), expires_in: this.expiresIn }];
  }

  #token(audience: string, scopes: readonly string[]): string {
    const access = scopes.map((scope) => {
      const [type, name, actions = ''] = scope.split(':');
      return { type, name, actions: actions.split(',') };
    });
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: 'test', sub: '', aud: audience, exp: now + 300, nbf: now - 10, iat: now, jti: randomUUID(), access };
    const certificate = readFileSync(this.#signer.certificate, 'utf8').replaceAll(/-----[^-]+-----|\s/g, '');
    const header = { typ: 'JWT', alg: 'ES256', x5c: [certificate] };
    const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    const key = createPrivateKey(readFileSync(this.#signer.key));
    const signed = this.isTrusted ? text : createHash('sha256').update(text).digest('hex');
    return `${text}.${sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
  }
}
