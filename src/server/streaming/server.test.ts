import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { PassThrough } from 'node:stream';
import { after, test } from 'node:test';
import { Failure } from '../../errors/index.ts';
import { createLogger } from '../../log/index.ts';
import { SpdySession, type SpdyStream, WebSocketConnection, requestUpgrade } from '../../streams/index.ts';
import { StreamingServer } from './index.ts';
import { streamingPort } from './port.ts';
import { Tokens } from './tokens.ts';
import type { StreamingBackend } from './types.ts';

/** Stands for the node: `exec` says what it was asked, copies its input, and ends with the code that the command names. */
const backend: StreamingBackend = {
  async exec(id, command, tty, { stdin, stdout, stderr, onResize }) {
    if (command[0] === 'fail') throw new Failure('NotFound', `could not find container "${id}"`);
    if (command[0] === 'size') return await new Promise((resolve) => onResize(({ width, height }) => resolve(width === 80 ? height : 255)));
    stderr?.write(`tty ${tty}`);
    for await (const chunk of stdin ?? []) stdout?.write(chunk);
    return Number(command[0]);
  },
  attach: async (_, { stdout }) => void stdout?.write('attached'),
  dial: async (_, port) => {
    if (port === 81) throw new Failure('Unavailable', 'nobody listens');
    return new PassThrough();
  },
};
const lines: string[] = [];
const logged = new EventEmitter();
const write = (line: string): void => {
  lines.push(line);
  logged.emit('line');
};
const log = createLogger({ level: 'info', filter: undefined, write });

const settings = { address: '127.0.0.1', port: 0, idleTimeoutMs: 60_000, creationTimeoutMs: 60_000 };

async function serving(more: Partial<typeof settings> = {}): Promise<StreamingServer> {
  const server = new StreamingServer({ ...settings, ...more }, backend, log);
  await server.listen();
  after(async () => await server.close());
  return server;
}
const server = await serving();

type Wanted = { stdin?: boolean; stdout?: boolean; stderr?: boolean; tty?: boolean };
function execUrl(command: string, wanted: Wanted = {}, at = server): URL {
  const streams = { stdin: false, stdout: true, stderr: false, tty: false, ...wanted };
  return new URL(at.urlFor({ kind: 'exec', containerId: 'c', command: [command], ...streams }));
}
function forwardUrl(at = server): URL {
  return new URL(at.urlFor({ kind: 'portforward', podId: 'p', ports: [80, 81] }));
}

async function dial(url: URL): Promise<Socket> {
  const socket = connect({ port: Number(url.port), host: '127.0.0.1', allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

/** The whole answer to what is no upgrade. */
async function answerTo(url: URL, text: string): Promise<string> {
  const socket = await dial(url);
  socket.write(text);
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

async function spdy(
  url: URL,
  protocols: readonly string[],
  types: readonly string[] = [],
): Promise<{ protocol: string; session: SpdySession; streams: SpdyStream[]; socket: Socket }> {
  const socket = await dial(url);
  const headers = protocols.map((name) => ['X-Stream-Protocol-Version', name] as const);
  const answer = await requestUpgrade(socket, {
    method: 'POST',
    path: url.pathname,
    host: url.host,
    headers: [['Upgrade', 'SPDY/3.1'], ...headers],
  });
  const session = new SpdySession(socket, { role: 'client', head: answer.head });
  const streams: SpdyStream[] = [];
  for (const type of types) streams.push(await session.open(new Map([['streamtype', type]])));
  return { protocol: answer.headers.get('x-stream-protocol-version') ?? '', session, streams, socket };
}

async function textOf(stream: SpdyStream | undefined): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream ?? []) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

/** Messages of a WebSocket until its end, as text. */
async function webSocket(url: URL, protocols: string, send: readonly Buffer[] = []): Promise<{ protocol: string; messages: string[] }> {
  const socket = await dial(url);
  const headers: [string, string][] = [
    ['Upgrade', 'websocket'],
    ['Sec-WebSocket-Version', '13'],
    ['Sec-WebSocket-Key', randomBytes(16).toString('base64')],
  ];
  if (protocols !== '') headers.push(['Sec-WebSocket-Protocol', protocols]);
  const { head, headers: answered } = await requestUpgrade(socket, { method: 'GET', path: url.pathname, host: url.host, headers });
  const messages: string[] = [];
  const connection = new WebSocketConnection(socket, {
    role: 'client',
    head,
    onMessage: (bytes) => messages.push(bytes.toString('latin1')),
  });
  for (const message of send) connection.send('binary', [message]);
  await connection.closed;
  return { protocol: answered.get('sec-websocket-protocol') ?? '', messages };
}

test('[E25 E26 a65] a URL is good once, for its own kind, with 256 random bits', async () => {
  const url = execUrl('0');
  assert.match(url.href, /^http:\/\/127\.0\.0\.1:\d+\/exec\/[A-Za-z0-9_-]{43}$/);
  await spdy(url, ['v4.channel.k8s.io'], ['error', 'stdout']);
  await assert.rejects(spdy(url, ['v4.channel.k8s.io']), { code: 'HTTP_404' });
  const other = execUrl('0');
  other.pathname = other.pathname.replace('exec', 'attach');
  await assert.rejects(spdy(other, ['v4.channel.k8s.io']), { code: 'HTTP_404' });
  const guessed = execUrl('0');
  guessed.pathname = `/exec/${'A'.repeat(43)}`;
  await assert.rejects(spdy(guessed, ['v4.channel.k8s.io']), { code: 'HTTP_404' });
});

test('[E26] a token ends after a minute, and at most a thousand wait', () => {
  let now = 0;
  const tokens = new Tokens<string>(() => now);
  const [early, late] = [tokens.issue('early'), tokens.issue('late')];
  now = 59_999;
  assert.equal(tokens.take(early), 'early');
  now = 60_000;
  assert.equal(tokens.take(late), undefined);
  for (let n = 0; n < 1000; n++) tokens.issue('x');
  assert.throws(() => tokens.issue('x'), { kind: 'ResourceExhausted', message: 'maximum number of in-flight requests exceeded' });
  now = 120_000;
  tokens.issue('x');
});

test('[E33 E39] what is no upgrade, or another path or method, is refused in HTTP', async () => {
  const host = 'Host: x\r\n';
  assert.match(await answerTo(execUrl('0'), `GET /healthz HTTP/1.1\r\n${host}\r\n`), /^HTTP\/1\.1 404 /);
  const url = execUrl('0');
  assert.match(await answerTo(url, `PUT ${url.pathname} HTTP/1.1\r\n${host}\r\n`), /^HTTP\/1\.1 405 /);
  assert.match(await answerTo(url, `GET ${url.pathname} HTTP/1.1\r\n${host}\r\n`), /^HTTP\/1\.1 400 .*unable to upgrade/s);
  const other = execUrl('0');
  assert.match(
    await answerTo(other, `GET ${other.pathname} HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n`),
    /^HTTP\/1\.1 400 .*unable to upgrade/s,
  );
  const nameless = execUrl('0');
  const answer = await answerTo(nameless, `POST ${nameless.pathname} HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n`);
  assert.match(answer, /^HTTP\/1\.1 400 .*header X-Stream-Protocol-Version does not exist in request with 3 headers/s);
  const strange = execUrl('0');
  const text = `POST ${strange.pathname} HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v9\r\n\r\n`;
  assert.match(await answerTo(strange, text), /^HTTP\/1\.1 403 .*client supports \[v9\], server accepts \[v4\.channel\.k8s\.io v3\./s);
});

test('[a65] requests that two readers could cut differently are refused', async () => {
  const url = execUrl('0');
  const smuggled = `GET ${url.pathname} HTTP/1.1\r\nHost: x\r\n\r\n`;
  for (const headers of [
    'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n',
    'Content-Length: 4\r\nContent-Length: 5\r\n',
    'Transfer-Encoding: chunked, identity\r\n',
    'Content-Length : 4\r\n',
    ' Content-Length: 4\r\n',
    'Content-Length: +4\r\n',
    'X: a\rY: b\r\n',
  ]) {
    const answer = await answerTo(url, `POST /exec/x HTTP/1.1\r\nHost: x\r\n${headers}\r\n${smuggled}`);
    assert.doesNotMatch(answer, /HTTP\/1\.1 [^4]|HTTP\/1\.1.*HTTP\/1\.1/s, headers);
  }
  await spdy(url, ['v4.channel.k8s.io'], ['error', 'stdout']); // The token is still good.
});

test('[E40] the first version of the client that the server knows is taken', async () => {
  const offers: readonly (readonly string[])[] = [
    ['v9', 'v3.channel.k8s.io', 'v4.channel.k8s.io'],
    ['channel.k8s.io'],
    ['v2.channel.k8s.io'],
    ['v4.channel.k8s.io'],
  ];
  const chosen = await Promise.all(offers.map(async (offer) => (await spdy(execUrl('0'), offer)).protocol));
  assert.deepEqual(chosen, ['v3.channel.k8s.io', 'channel.k8s.io', 'v2.channel.k8s.io', 'v4.channel.k8s.io']);
});

test('[E41 E45] SPDY: streams by their type, and a Status at the end', async () => {
  const { streams } = await spdy(
    execUrl('7', { stdin: true, stderr: true }),
    ['v4.channel.k8s.io'],
    ['error', 'stdin', 'stdout', 'stderr'],
  );
  const [error, stdin, stdout, stderr] = streams;
  stdin?.end('in');
  assert.deepEqual([await textOf(stdout), await textOf(stderr)], ['in', 'tty false']);
  assert.deepEqual(JSON.parse(await textOf(error)), {
    metadata: {},
    status: 'Failure',
    message: 'command terminated with non-zero exit code: exit status 7',
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: '7' }] },
  });
  const success = await spdy(execUrl('0'), ['v4.channel.k8s.io'], ['error', 'stdout']);
  assert.equal(await textOf(success.streams[0]), '{"metadata":{},"status":"Success"}');
});

test('[E46 E47 E48] a failure is a Status of code 500, for older versions its text, and success nothing', async () => {
  const text = 'Internal error occurred: error executing command in container: could not find container "c"';
  const { streams } = await spdy(execUrl('fail'), ['v4.channel.k8s.io'], ['error', 'stdout']);
  const status = JSON.parse(await textOf(streams[0])) as Record<string, unknown>;
  assert.deepEqual([status['status'], status['reason'], status['code'], status['message']], ['Failure', 'InternalError', 500, text]);
  for (const version of ['v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io']) {
    const failed = await spdy(execUrl('fail'), [version], ['error', 'stdout']);
    assert.equal(await textOf(failed.streams[0]), text);
    const well = await spdy(execUrl('0'), [version], ['error', 'stdout']);
    assert.equal(await textOf(well.streams[0]), '');
  }
});

test('[E44] sizes come one behind the other, those with a zero count for nothing', async () => {
  const { streams } = await spdy(execUrl('size', { tty: true }), ['v4.channel.k8s.io'], ['error', 'stdout', 'resize']);
  streams[2]?.write('{"Width":0,"Height":9}{"Width":80,"He');
  streams[2]?.write('ight":24}');
  assert.match(await textOf(streams[0]), /"ExitCode","message":"24"/);
});

test('[E32] who does not create the streams that it asked for is let go', async () => {
  const impatient = await serving({ creationTimeoutMs: 100 });
  const { session } = await spdy(execUrl('0', { stdin: true }, impatient), ['v4.channel.k8s.io'], ['error']);
  await session.closed;
  while (!lines.some((line) => line.includes('timed out waiting for client to create streams'))) await once(logged, 'line');
  const half = await spdy(forwardUrl(impatient), ['portforward.k8s.io']);
  await half.session.open(
    new Map([
      ['streamtype', 'error'],
      ['port', '80'],
      ['requestid', '0'],
    ]),
  );
  await half.session.closed;
});

test('[E31] a connection without a byte in either direction is closed', async () => {
  const idle = await serving({ idleTimeoutMs: 200 });
  const { session } = await spdy(execUrl('0', { stdin: true }, idle), ['v4.channel.k8s.io'], ['error', 'stdin', 'stdout']);
  await session.closed;
});

test('[E42 E43] WebSocket: versions, and an empty message on the first channel that can be written', async () => {
  const offers = ['', 'channel.k8s.io', 'v4.channel.k8s.io', 'v9, v5.channel.k8s.io'];
  for (const offer of offers) {
    const { protocol, messages } = await webSocket(execUrl('7'), offer);
    assert.equal(protocol, offer.split(', ').at(-1));
    assert.equal(messages[0], '\u0001');
    const status = messages.slice(1).join('');
    assert.equal(status[0], '\u0003');
    const text = 'command terminated with non-zero exit code: exit status 7';
    if (/^v\d/.test(protocol)) assert.match(status, /"ExitCode","message":"7"/);
    else assert.equal(status.slice(1), text);
  }
  for (const offer of ['base64.channel.k8s.io', 'v4.base64.channel.k8s.io']) {
    const { protocol, messages } = await webSocket(execUrl('7', { stdout: false, stderr: true }), offer);
    assert.equal(protocol, offer);
    assert.equal(messages[0], '2');
    assert.equal(messages[1], `2${Buffer.from('tty false').toString('base64')}`);
  }
  await assert.rejects(webSocket(execUrl('0'), 'v9.channel.k8s.io'), { code: 'HTTP_403' });
});

test('[p38] WebSocket version 5: a channel can be closed by the client', async () => {
  const { messages } = await webSocket(execUrl('0', { stdin: true }), 'v5.channel.k8s.io', [Buffer.from('\0in'), Buffer.of(255, 0)]);
  assert.deepEqual(messages, ['\u0001', '\u0001in', '\u0003{"metadata":{},"status":"Success"}']);
});

test('[E70 E71 E72] port-forward: pairs of streams by request, or by their ids; a failure is told and the pair reset', async () => {
  const { session } = await spdy(forwardUrl(), ['portforward.k8s.io']);
  const open = async (headers: Record<string, string>) => await session.open(new Map(Object.entries(headers)));
  const [error, data] = [
    await open({ streamtype: 'error', port: '80', requestid: '9' }),
    await open({ streamtype: 'data', port: '80', requestid: '9' }),
  ];
  data.end('there and back');
  assert.equal(await textOf(data), 'there and back');
  assert.equal(await textOf(error), '');
  await open({ streamtype: 'error', port: '80' });
  const old = await open({ streamtype: 'data', port: '80' });
  old.end('old');
  assert.equal(await textOf(old), 'old');
  const [why, lost] = [
    await open({ streamtype: 'error', port: '81', requestid: '10' }),
    await open({ streamtype: 'data', port: '81', requestid: '10' }),
  ];
  const reset = once(lost, 'error');
  assert.equal(await textOf(why), 'error forwarding port 81 to pod p, uid : nobody listens');
  await reset;
  for (const headers of [
    { streamtype: 'data' },
    { streamtype: 'data', port: 'x' },
    { streamtype: 'data', port: '0' },
    { port: '80' },
    { streamtype: 'stdin', port: '80' },
    { streamtype: 'data', port: '65536' },
  ]) {
    const stream = await open(headers);
    await once(stream, 'error');
  }
  session.close();
});

test('[E73] port-forward over WebSocket: each channel begins with its port; data and error by the numbers', async () => {
  const messages: string[] = [];
  const again = forwardUrl();
  const connection = await dial(again);
  const { head } = await requestUpgrade(connection, {
    method: 'GET',
    path: again.pathname,
    host: again.host,
    headers: [
      ['Upgrade', 'websocket'],
      ['Sec-WebSocket-Version', '13'],
      ['Sec-WebSocket-Key', randomBytes(16).toString('base64')],
      ['Sec-WebSocket-Protocol', 'v4.channel.k8s.io'],
    ],
  });
  const echoed = Promise.withResolvers<void>();
  const client = new WebSocketConnection(connection, {
    role: 'client',
    head,
    onMessage: (bytes) => {
      messages.push(bytes.toString('latin1'));
      if (messages.some((message) => message.startsWith('\0echo')) && messages.some((message) => message.includes('nobody')))
        echoed.resolve();
    },
  });
  client.send('binary', [Buffer.from('\0echo')]);
  await echoed.promise;
  client.close();
  assert.deepEqual(messages.filter((message) => message.length === 3).toSorted(), ['\0P\0', '\u0001P\0', '\u0002Q\0', '\u0003Q\0']);
  assert.ok(messages.includes('\u0003error forwarding port 81 to pod p, uid : nobody listens'));
});

test('[a65 a67] broken frames end their own connection, with one line in the log, and no other', async () => {
  const steady = await spdy(execUrl('0', { stdin: true }), ['v4.channel.k8s.io'], ['error', 'stdin', 'stdout']);
  const before = lines.length;
  for (let n = 0; n < 20; n++) {
    const { socket, session } = await spdy(execUrl('0', { stdin: true }), ['v4.channel.k8s.io'], ['error']);
    socket.write(Buffer.concat([Buffer.of(0x80, 3, 0, 1, 0, 0, 0, 40), randomBytes(40)]));
    await session.closed;
  }
  for (let n = 0; n < 20; n++) {
    const url = execUrl('0', { stdin: true });
    const socket = await dial(url);
    await requestUpgrade(socket, {
      method: 'GET',
      path: url.pathname,
      host: url.host,
      headers: [
        ['Upgrade', 'websocket'],
        ['Sec-WebSocket-Version', '13'],
        ['Sec-WebSocket-Key', randomBytes(16).toString('base64')],
      ],
    });
    socket.resume();
    socket.write(Buffer.of(0xff, 0xff, 0xff, 0xff));
    await once(socket, 'end');
    socket.destroy();
  }
  assert.ok(lines.length - before <= 40, lines.slice(before).join('\n'));
  steady.streams[1]?.end('still here');
  assert.equal(await textOf(steady.streams[2]), 'still here');
});

test('[a65] ten thousand connections that say nothing: the oldest go, and whoever asks is served', async () => {
  const url = execUrl('0');
  const sockets: Socket[] = [];
  const before = process.memoryUsage().rss;
  for (let n = 0; n < 10_000; n++) {
    const socket = connect({ port: Number(url.port), host: '127.0.0.1' });
    socket.on('error', () => {});
    sockets.push(socket);
    if (n % 100 === 99) await once(socket, 'connect');
  }
  const { session } = await spdy(url, ['v4.channel.k8s.io'], ['error', 'stdout']);
  await session.closed;
  assert.ok(sockets.filter((socket) => !socket.destroyed).length <= 1024);
  assert.ok(process.memoryUsage().rss - before < 200 * 1024 * 1024);
  for (const socket of sockets) socket.destroy();
});

test('[B27 E30] a port is a number or the name of a service', () => {
  assert.equal(streamingPort('0'), 0);
  assert.equal(streamingPort('10010'), 10010);
  assert.equal(streamingPort('https'), 443);
  assert.throws(() => streamingPort('no-such-service'), { message: 'lookup tcp/no-such-service: unknown port' });
  assert.throws(() => streamingPort('65536'), { kind: 'InvalidArgument' });
});

test('[E38] an address that cannot be had is a failure that says which', async () => {
  const taken = Number(new URL(execUrl('0')).port);
  await assert.rejects(new StreamingServer({ ...settings, port: taken }, backend, log).listen(), {
    kind: 'FailedPrecondition',
    message: `Failed to start streaming server: listen tcp 127.0.0.1:${taken}: EADDRINUSE`,
  });
});

test('[E29] an address that is no IP address stands for all, and the URL names none', async () => {
  const all = await serving({ address: 'localhost' });
  assert.match(all.urlFor({ kind: 'portforward', podId: 'p', ports: [] }), /^http:\/\/:\d+\/portforward\//);
});
