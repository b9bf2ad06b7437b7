// npm run demo: the whole way of a pod, with the commands that a user types, and how long each took.
import { release } from 'node:os';
import { join } from 'node:path';
import { TestNode } from '../test/harness/node.ts';
import { projectRoot } from '../test/harness/tools.ts';

const MANIFEST = join(projectRoot, 'examples/web.yaml');
const began = performance.now();

/** Does one step, and prints what it was, how long it took, and at most a few lines of what it showed. */
async function step(what: string, work: () => Promise<string>): Promise<void> {
  const start = performance.now();
  const shown = await work().catch((error: unknown) => {
    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  });
  console.log(`${((performance.now() - start) / 1000).toFixed(2).padStart(7)} s  ${what}`);
  for (const line of shown.trimEnd().split('\n').filter(Boolean)) console.log(`           ${line.slice(0, 130)}`);
}

/** A client command, as a user types it, with what it prints: on standard error if there is nothing on the output. */
function crio(node: TestNode, ...args: string[]): Promise<void> {
  return step(`crio ${args.map((arg) => arg.replace(`${projectRoot}/`, '')).join(' ')}`, async () => {
    const result = await node.crio(args);
    return text(result) || result.stderr;
  });
}

function text(result: { readonly stdout: Buffer }): string {
  return result.stdout.toString('utf8');
}

/** Fetches a page from inside the machine, again while the server is starting. */
function fetchPage(node: TestNode, what: string, url: () => Promise<string>): Promise<void> {
  return step(what, async () => {
    const script =
      'for (let n = 0; ; n++) try { const r = await fetch(process.argv[1]); if (!r.ok) throw new Error(r.statusText); console.log(await r.text()); break; } catch (e) { if (n === 20) throw e; await new Promise((done) => setTimeout(done, 200)); }';
    return text(await node.machine.exec([process.execPath, '--input-type=module', '-e', script, await url()]));
  });
}

async function podAddress(node: TestNode): Promise<string> {
  const { items } = await node.client.ListPodSandbox();
  const { status } = await node.client.PodSandboxStatus({ podSandboxId: items[0]?.id ?? '' });
  return status?.network?.ip ?? '';
}

async function demo(): Promise<void> {
  console.log(
    `crio-ts: a pod's whole way, on a machine of its own (namespaces; kernel ${release()}), with Debian's runc and CNI plugins\n`,
  );
  const node = new TestNode({ images: ['web', 'busybox'] });
  try {
    await step('namespaces, and a registry with images made of Debian packages (made once, then cached)', async () => {
      await node.boot();
      await node.registry();
      return '';
    });
    await step('crio (the daemon), until it answers on its socket', async () => {
      await node.start();
      await node.remember();
      const { runtimeName, runtimeVersion } = await node.client.Version();
      return `${runtimeName} ${runtimeVersion}`;
    });
    for (const image of ['web', 'busybox']) await crio(node, 'pull', `127.0.0.1:5000/${image}:latest`);
    await crio(node, 'run', '--detach', MANIFEST);
    await crio(node, 'ps');
    await fetchPage(node, "the page, through the pod's address", async () => `http://${await podAddress(node)}:8080/now/time.txt`);
    await fetchPage(node, 'the page, through port 8080 of the node', async () => `http://${await nodeAddress(node)}:8080/now/time.txt`);
    for (const container of ['server', 'clock']) await crio(node, 'logs', '--tail', '3', `web/${container}`);
    await crio(node, 'exec', 'web/clock', 'sh', '-c', 'hostname; id; ls -l /page');
    await step('kill -9 of the daemon, and a new one: the pod has not noticed', async () => {
      await node.kill9();
      await node.start();
      return text(await node.crio(['pods']));
    });
    await crio(node, 'stop', 'web');
    await crio(node, 'rm', 'web');
    for (const image of ['web', 'busybox']) await crio(node, 'rmi', `127.0.0.1:5000/${image}:latest`);
    await step('looked for mounts, namespaces, interfaces, cgroups, processes, records and files that stayed', async () => {
      const leaks = await node.leaks();
      if (leaks.length > 0) throw new Error(`left behind:\n${leaks.join('\n')}`);
      return 'nothing stayed';
    });
    await step('the daemon stops', async () => {
      const code = await node.stop();
      if (code !== 0) throw new Error(`the daemon ended with ${code ?? 'a signal'}:\n${node.log()}`);
      return '';
    });
  } catch (error) {
    if (node.log() !== '') console.error(`\nThe end of the daemon's log:\n${tail(node.log())}`);
    throw error;
  } finally {
    await node.end();
  }
  console.log(
    `\nAll of it took ${((performance.now() - began) / 1000).toFixed(1)} s. The manifest is examples/web.yaml; nothing is left on this machine.`,
  );
}

/** An address of the node's own that is not loopback: what other machines would use. */
async function nodeAddress(node: TestNode): Promise<string> {
  const links = JSON.parse(text(await node.machine.exec(['ip', '-j', '-4', 'address', 'show', 'dev', 'cni0']))) as {
    addr_info: { local: string }[];
  }[];
  return links[0]?.addr_info[0]?.local ?? '127.0.0.1';
}

function tail(log: string): string {
  return log.trimEnd().split('\n').slice(-15).join('\n');
}

try {
  await demo();
} catch (error) {
  console.error(`\ndemo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
