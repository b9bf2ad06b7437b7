/**
 * A stand-in for flannel's CNI plugin, which Debian does not package: what flannel's documentation says that it does. ADD
 * reads what flanneld wrote to /run/flannel/subnet.env, makes a configuration of the bridge plugin with host-local from it,
 * keeps that below /var/lib/cni/flannel for DEL, and hands over to the plugin in CNI_PATH.
 */
export const FLANNEL_PLUGIN = `#!${process.execPath}
const fs = require('node:fs');
const { spawnSync } = require('node:child_process');
const fail = (msg) => { console.log(JSON.stringify({ cniVersion: '0.3.1', code: 100, msg })); process.exit(1); };
const input = fs.readFileSync(0, 'utf8');
const { CNI_COMMAND: command, CNI_CONTAINERID: id, CNI_PATH: path } = process.env;
if (command === 'VERSION') {
  console.log('{"cniVersion":"1.0.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0"]}');
  process.exit();
}
const dir = '/var/lib/cni/flannel';
const kept = dir + '/' + id;
function delegate(config) {
  const program = path.split(':').map((dir) => dir + '/' + config.type).find((file) => fs.existsSync(file));
  if (program === undefined) fail('failed to find plugin "' + config.type + '" in path [' + path + ']');
  const { stdout, status } = spawnSync(program, { input: JSON.stringify(config), stdio: ['pipe', 'pipe', 'inherit'] });
  process.stdout.write(stdout);
  return status;
}
if (command === 'ADD') {
  const conf = JSON.parse(input);
  let text;
  try { text = fs.readFileSync('/run/flannel/subnet.env', 'utf8'); }
  catch { fail('loadFlannelSubnetEnv failed: open /run/flannel/subnet.env: no such file or directory'); }
  const env = Object.fromEntries(text.trim().split('\\n').map((line) => line.split('=')));
  const delegated = {
    name: conf.name, cniVersion: conf.cniVersion, type: 'bridge', mtu: Number(env.FLANNEL_MTU), ipMasq: env.FLANNEL_IPMASQ !== 'true',
    isGateway: true, ...conf.delegate,
    ipam: { type: 'host-local', ranges: [[{ subnet: env.FLANNEL_SUBNET.replace(/\\.1\\//, '.0/') }]], routes: [{ dst: env.FLANNEL_NETWORK }] },
  };
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  fs.writeFileSync(kept, JSON.stringify(delegated), { mode: 0o600 });
  process.exit(delegate(delegated));
}
if (command === 'DEL') {
  if (!fs.existsSync(kept)) process.exit();
  const status = delegate(JSON.parse(fs.readFileSync(kept, 'utf8')));
  if (status === 0) fs.rmSync(kept);
  process.exit(status);
}
process.exit();
`;

/** What the installer of flannel's DaemonSet puts into /etc/cni/net.d. */
export const FLANNEL_CONFLIST = JSON.stringify({
  name: 'cbr0',
  cniVersion: '0.3.1',
  plugins: [
    { type: 'flannel', delegate: { hairpinMode: true, isDefaultGateway: true } },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
});

/** What flanneld writes when it has a lease; the subnet is written with the gateway's address, as flanneld does. */
export function subnetEnv(subnet: string): string {
  return `FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=${subnet}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n`;
}
