/** What an administrator writes on a node in a virtual machine. `registry` is spoken to without TLS; `more` is more of crio.conf. */
export function nodeFiles(registry: string, more = ''): Record<string, string> {
  return {
    '/etc/crio/crio.conf': `[crio.runtime]
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
default_runtime = "runc"
[crio.runtime.runtimes.runc]
runtime_path = "/usr/sbin/runc"
[crio.image]
pause_image = "${registry}/pause:latest"
`,
    '/etc/crio/crio.conf.d/50-test.conf': more,
    '/etc/containers/policy.json': '{ "default": [{ "type": "insecureAcceptAnything" }] }',
    '/etc/containers/registries.conf': `[[registry]]\nlocation = "${registry}"\ninsecure = true\n`,
  };
}
