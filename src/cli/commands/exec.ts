import { services } from '../../wire/index.ts';
import { defineCommand, wholeNumber } from '../arguments.ts';
import { listTargets, openConnection, selectContainer, socketOption } from '../client/index.ts';
import { type Output, printableLines } from '../render/index.ts';

/** Above the time that the command may take: the runtime ends it, not we. */
const GRACE_MS = 10_000;

export const exec = defineCommand({
  words: 'POD[/CONTAINER] COMMAND [ARG...]',
  count: [2, Infinity],
  verbatimAfter: 1,
  options: {
    timeout: { type: 'string', short: 't', value: 'SECONDS', help: 'End the command after this time (default: never).' },
    raw: { type: 'boolean', help: 'Pass control characters through to the terminal.' },
    ...socketOption,
  },
  details: `Runs COMMAND without terminal and without input, prints its output when it has ended, and ends with its exit code.
A pod stands for its container if it has only one. Options of ours stand before POD, everything behind it is COMMAND's.

  crio exec web ls -l /
  crio exec default/web/sidecar cat /etc/hosts`,
  async run({ values, words }, { terminal, env }) {
    const timeout = values.timeout === undefined ? 0 : wholeNumber('--timeout', values.timeout);
    const [word = '', ...cmd] = words;
    using cri = openConnection(values.socket, env);
    const container = selectContainer(word, await listTargets(cri));
    const request = { containerId: container.id, cmd, timeout: BigInt(timeout) };
    const answer = await cri.call(services.RuntimeService.ExecSync, request, { deadlineMs: timeout === 0 ? 0 : timeout * 1000 + GRACE_MS });
    show(terminal.out, answer.stdout, values.raw);
    show(terminal.err, answer.stderr, values.raw);
    return answer.exitCode;
  },
});

/** What a container says must not steer the terminal of whoever looks. */
function show(out: Output, bytes: Uint8Array, raw: boolean): void {
  out.write(raw || !out.interactive ? bytes : printableLines(Buffer.from(bytes).toString('utf8')));
}
