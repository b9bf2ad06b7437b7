import type { PodInput } from '../../harness/pods.ts';
import { withUserNamespace } from '../../harness/userns.ts';
import { crashSuite } from './suite.ts';

const sysctls = new Map([['net.ipv4.ip_unprivileged_port_start', '80']]);
const pod = (base: PodInput) => withUserNamespace({ ...base, linux: { ...base.linux, sysctls } });

const concerned = /namespaces|record|mount|shm|cgroup|root file system|RunPodSandbox\/config\.json/;

crashSuite('crun', { lives: [{ name: 'a pod with a user namespace', options: { runtimeHandler: 'crun', pod }, concerned }] });
