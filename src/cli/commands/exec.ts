import { services } from '../../wire/index.ts';
import { defineCommand, usage, wholeNumber } from '../arguments.ts';
import { listTargets, openConnection, selectContainer, socketOption } from '../client/index.ts';
import { type Output, printableLines } from '../render/index.ts';
import { runSession } from '../streaming/index.ts';

/** Above the time that the command may take: the runtime ends it, not we. */
const GRACE_MS = 10_000;

export const exec = defineCommand({
  words: 'POD[/CONTAINER] COMMAND [ARG...]',
  count: [2, Infinity],
  verbatimAfter: 1,
  options: {
    interactive: { type: 'boolean', short: 'i', help: 'Pass standard input on.' },
    tty: { type: 'boolean', short: 't', help: 'Give the command a terminal, of the size of ours.' },
    timeout: { type: 'string', value: 'SECONDS', help: 'End the command after this time (default: never); without -i and -t.' },
    raw: { type: 'boolean', help: 'Pass control characters through to the terminal.' },
    ...socketOption,
  },
  details: `Runs COMMAND, passes its output on as it comes, and ends with its exit code.
A pod stands for its container if it has only one. Options of ours stand before POD, everything behind it is COMMAND's.

  crio exec web ls -l /
  crio exec -it web sh
  crio exec -i default/web/sidecar tar xf - < files.tar`,
  async run({ values, words }, { terminal, env }) {
    const { interactive, tty, raw } = values;
    const [word = '', ...cmd] = words;
    using cri = openConnection(values.socket, env);
    const { id: containerId } = selectContainer(word, await listTargets(cri));
    if (values.timeout === undefined) {
      const streams = { stdin: interactive, stdout: true, stderr: !tty, tty };
      const { url } = await cri.call(services.RuntimeService.Exec, { containerId, cmd, ...streams });
      return await runSession(url, { ...streams, raw }, terminal);
    }
    if (interactive || tty) throw usage('--timeout goes with neither -i nor -t');
    const timeout = wholeNumber('--timeout', values.timeout);
    const request = { containerId, cmd, timeout: BigInt(timeout) };
    const answer = await cri.call(services.RuntimeService.ExecSync, request, { deadlineMs: timeout === 0 ? 0 : timeout * 1000 + GRACE_MS });
    show(terminal.out, answer.stdout, raw);
    show(terminal.err, answer.stderr, raw);
    return answer.exitCode;
  },
});

/** What a container says must not steer the terminal of whoever looks. */
function show(out: Output, bytes: Uint8Array, raw: boolean): void {
  out.write(raw || !out.interactive ? bytes : printableLines(Buffer.from(bytes).toString('utf8')));
}
