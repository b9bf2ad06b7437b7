#!/bin/sh
# install.sh [run|demo|test|bench]: brings what is missing, and is quick when nothing is. Needs root, Debian 12 and npm.
#   run    npm packages, and what CRI-O itself needs, from apt: runtimes, conmon, CNI plugins, nftables
#   demo   + tools of the tests. A package that would start a service or conflict with what a user has is never
#            installed: it is unpacked below $CRIO_TEST_CACHE/tools (default /var/cache/crio-ts-test)
#   test   + on x86_64, an emulator and a kernel for virtual machines
#   bench  demo + containerd and a small pause program, unpacked likewise
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
cache=${CRIO_TEST_CACHE:-/var/cache/crio-ts-test}

# Each line: a file that tells that a package is installed, and the package.
run='
/usr/lib/*/libatomic.so.1             libatomic1
/usr/lib/*/libstdc++.so.6            libstdc++6
/usr/sbin/runc                       runc
/usr/bin/crun                        crun
/usr/bin/conmon                      conmon
/usr/lib/cni/bridge                  containernetworking-plugins
/usr/sbin/nft                        nftables
/usr/sbin/iptables                   iptables
/usr/sbin/ip                         iproute2
/usr/bin/nsenter                     util-linux
/usr/bin/gpgv                        gpgv
/etc/ssl/certs/ca-certificates.crt   ca-certificates
'
tools='
/usr/bin/ps                          procps
/usr/bin/openssl                     openssl
/usr/bin/gpg                         gnupg
/usr/bin/bzip2                       bzip2
/usr/bin/xz                          xz-utils
/usr/bin/setfattr                    attr
/usr/sbin/setcap                     libcap2-bin
/usr/bin/bsdtar                      libarchive-tools
/usr/bin/dbus-daemon                 dbus-daemon
/usr/bin/mmdebstrap                  mmdebstrap
/usr/lib/*/libgpgme.so.11            libgpgme11
/usr/lib/*/libdevmapper.so.1.02.1    libdevmapper1.02.1
'
vm='
/usr/bin/qemu-system-x86_64          qemu-system-x86
/usr/sbin/depmod                     kmod
/usr/sbin/mke2fs                     e2fsprogs
'
kernel=linux-image-cloud-amd64
[ "$(uname -m)" = x86_64 ] || vm='' kernel=''
case ${1:-test} in
  run) needs=$run; unpacked='' ;;
  demo) needs=$run$tools; unpacked='tini busybox docker-registry skopeo umoci runsc' ;;
  test) needs=$run$tools$vm; unpacked="tini busybox docker-registry skopeo umoci runsc $kernel" ;;
  bench) needs=$run$tools; unpacked='tini busybox docker-registry skopeo umoci runsc containerd catatonit' ;;
  *) sed -n 2,7p "$0" >&2; exit 2 ;;
esac

say() { printf 'install: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Several may run at once (CI beside a person): the second waits for the first and then finds nothing to do.
mkdir -p "$cache" 2>/dev/null || die "cannot create $cache: run as root, or point CRIO_TEST_CACHE at a directory of yours"
exec 9> "$cache/install.lock"
flock 9

# --- apt, first: npm's Node needs libraries from there
exists() { for path in "$@"; do [ -e "$path" ] && return; done; return 1; }
missing=''
set -f # The patterns are expanded when they are looked for, not here.
set -- $needs
set +f
while [ $# -gt 0 ]; do
  exists $1 || missing="$missing $2"
  shift 2
done
wanted=''
for package in $unpacked; do [ -e "$cache/tools/.$package" ] || wanted="$wanted $package"; done
if [ -n "$missing$wanted" ]; then
  command -v apt-get > /dev/null || die "missing:$missing$wanted, and there is no apt-get: install them by hand"
  [ "$(id -u)" = 0 ] || die "missing:$missing$wanted: run as root once, so that apt can bring them"
fi

# A package list that is absent or too old shows as a failed try: update once, then try again.
updated=''
with_lists() {
  "$@" && return
  [ -z "$updated" ] || return 1
  updated=1
  say "apt-get update"
  apt-get update -qq >&2
  "$@"
}

install_packages() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > "$cache/apt.log" 2>&1
}
if [ -n "$missing" ]; then
  say "apt-get install$missing"
  with_lists install_packages || { cat "$cache/apt.log" >&2; die "apt-get install$missing failed"; }
fi

# apt's download runs as a user of its own, who may not write here: root does it all, so no warning about that is news.
# A kernel's package only names that of the newest version.
unpack_package() {
  (
    rm -rf "$cache/unpack" && mkdir -p "$cache/unpack" "$cache/tools" && cd "$cache/unpack"
    wanted=$1
    case $1 in linux-image-*) wanted=$(apt-cache depends "$1" | sed -n 's/^ *Depends: //p') ;; esac
    apt-get -o APT::Sandbox::User=root download -qq "$wanted" && dpkg-deb -x ./*.deb "$cache/tools" && touch "$cache/tools/.$1"
  ) > "$cache/apt.log" 2>&1
}
for package in $wanted; do
  say "unpacking $package into $cache/tools"
  with_lists unpack_package "$package" || { cat "$cache/apt.log" >&2; die "cannot download the Debian package $package"; }
done
rm -rf "$cache/unpack"

# --- npm: the lock file that was installed last is kept as a stamp
stamp=$root/node_modules/.installed-package-lock.json
if ! cmp -s "$root/package-lock.json" "$stamp"; then
  command -v npm > /dev/null || die "npm is missing: install Node.js (20 or newer) with npm, then try again"
  say "npm ci"
  (cd "$root" && npm ci --no-audit --no-fund --loglevel=error) >&2
  cp "$root/package-lock.json" "$stamp"
fi
