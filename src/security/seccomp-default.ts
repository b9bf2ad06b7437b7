import type { LinuxSyscallArg, SeccompArch, SeccompProfile, SeccompRule } from './types.ts';

/**
 * The built-in profile [G5–G16]: an unnamed syscall answers ENOSYS, so that a libc falls back; a known dangerous one
 * answers EPERM. Where the reference's table names a syscall twice with different actions, the rule that
 * depends on a capability is the one kept here.
 */
const EPERM = 1;
const EINVAL = 22;
const ENOSYS = 38;

const DENIED = words(`
  bdflush cachestat futex_requeue futex_wait futex_waitv futex_wake io_pgetevents io_pgetevents_time64 kexec_file_load
  kexec_load map_shadow_stack migrate_pages move_pages nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname
  pciconfig_iobase pciconfig_read pciconfig_write sgetmask ssetmask swapoff swapon syscall sysfs uselib userfaultfd
  ustat vm86 vm86old vmsplice`);

const ALLOWED = words(`
  _llseek _newselect accept accept4 access adjtimex alarm bind brk capget capset chdir chmod chown chown32
  clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
  clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
  epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
  exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_init fanotify_mark fchdir fchmod fchmodat
  fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsconfig
  fsetxattr fsmount fsopen fspick fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex
  futex_time64 futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid
  getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
  getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname
  getsockopt gettid gettimeofday getuid getuid32 getxattr inotify_add_watch inotify_init inotify_init1
  inotify_rm_watch io_cancel io_destroy io_getevents io_setup io_submit ioctl ioprio_get ioprio_set ipc keyctl kill
  landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen
  listxattr llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise mbind membarrier memfd_create memfd_secret
  mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mount mount_setattr move_mount mprotect
  mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink
  mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open
  open_tree openat openat2 pause pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pivot_root pkey_alloc pkey_free
  pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv
  process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat
  readv reboot recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr rename renameat renameat2
  restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
  rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
  sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
  sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
  select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto
  set_mempolicy set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid
  setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
  setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr shmat shmctl shmdt shmget
  shutdown sigaltstack signal signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64
  statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs sysinfo syslog tee tgkill time timer_create
  timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
  timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit
  umask umount umount2 uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork wait4 waitid waitpid write
  writev`);

/** Architectures, as profiles name them, and the syscalls that only they have [G9]. */
const BY_ARCHITECTURE: readonly (readonly [arches: readonly string[], names: readonly string[]])[] = [
  [['ppc64le'], ['sync_file_range2', 'swapcontext']],
  [['arm', 'arm64'], words('arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2')],
  [['amd64', 'x32'], ['arch_prctl']],
  [['amd64', 'x32', 'x86'], ['modify_ldt']],
  [
    ['s390', 's390x'],
    ['s390_pci_mmio_read', 's390_pci_mmio_write', 's390_runtime_instr'],
  ],
  [['riscv64'], ['riscv_flush_icache']],
];

/** Allowed with the capability, EPERM without it [G10, G11]. */
const BY_CAPABILITY: readonly (readonly [cap: string, names: readonly string[]])[] = [
  ['CAP_DAC_READ_SEARCH', ['open_by_handle_at']],
  ['CAP_SYS_ADMIN', words('lookup_dcookie quotactl quotactl_fd setdomainname sethostname setns')],
  ['CAP_SYS_CHROOT', ['chroot']],
  ['CAP_SYS_MODULE', ['delete_module', 'finit_module', 'init_module', 'query_module']],
  ['CAP_SYS_PACCT', ['acct']],
  ['CAP_SYS_PTRACE', ['kcmp', 'process_madvise']],
  ['CAP_SYS_RAWIO', ['ioperm', 'iopl']],
  ['CAP_SYS_TIME', ['clock_settime', 'clock_settime64', 'settimeofday', 'stime']],
  ['CAP_SYS_TTY_CONFIG', ['vhangup']],
];

const NEW_NAMESPACE_FLAGS = {
  NS: 0x20000,
  CGROUP: 0x2000000,
  UTS: 0x4000000,
  IPC: 0x8000000,
  USER: 0x10000000,
  PID: 0x20000000,
  NET: 0x40000000,
};
const ANY_NEW_NAMESPACE = Object.values(NEW_NAMESPACE_FLAGS).reduce((mask, flag) => mask | flag);

const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

const AF_NETLINK = 16;
const AF_VSOCK = 40;
const NETLINK_AUDIT = 9;

const ARCH_MAP: readonly SeccompArch[] = [
  { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
  { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
  { architecture: 'SCMP_ARCH_MIPS64', subArchitectures: ['SCMP_ARCH_MIPS', 'SCMP_ARCH_MIPS64N32'] },
  { architecture: 'SCMP_ARCH_MIPSEL64', subArchitectures: ['SCMP_ARCH_MIPSEL', 'SCMP_ARCH_MIPSEL64N32'] },
  { architecture: 'SCMP_ARCH_S390X', subArchitectures: ['SCMP_ARCH_S390'] },
];

/** The built-in profile, built anew for each caller. */
export function defaultSeccompProfile(): SeccompProfile {
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: ENOSYS,
    archMap: ARCH_MAP,
    flags: [],
    syscalls: [
      deny(DENIED),
      allow(ALLOWED),
      ...PERSONALITIES.map((value) => allow(['personality'], { args: [equal(0, value)] })),
      ...BY_ARCHITECTURE.map(([arches, names]) => allow(names, { includes: { caps: [], arches } })),
      ...BY_CAPABILITY.flatMap(([cap, names]) => [allow(names, withCaps(cap)), deny(names, withoutCaps(cap))]),
      ...finerThanAdmin('bpf', 'CAP_BPF'),
      ...finerThanAdmin('perf_event_open', 'CAP_PERFMON'),
      ...socketRules(),
      ...cloneRules(),
    ],
  };
}

/** Syscalls that CAP_SYS_ADMIN or a newer, finer capability opens [G12]. */
function finerThanAdmin(name: string, cap: string): SeccompRule[] {
  const neither = { excludes: { caps: ['CAP_SYS_ADMIN', cap], arches: [] } };
  return [allow([name], withCaps('CAP_SYS_ADMIN')), allow([name], withCaps(cap)), deny([name], neither)];
}

/** VSOCK reaches the hypervisor, NETLINK_AUDIT the host's audit log [G13]. */
function socketRules(): SeccompRule[] {
  const family = (op: string, value: number): LinuxSyscallArg => ({ index: 0, value, op });
  const without = withoutCaps('CAP_AUDIT_WRITE');
  const netlink = family('SCMP_CMP_EQ', AF_NETLINK);
  const audit: LinuxSyscallArg = { index: 2, value: NETLINK_AUDIT, op: 'SCMP_CMP_EQ' };
  return [
    { ...deny(['socket'], { args: [family('SCMP_CMP_EQ', AF_VSOCK)] }) },
    { ...deny(['socket'], { ...without, args: [netlink, audit] }), errnoRet: EINVAL },
    allow(['socket'], { ...without, args: [netlink, { ...audit, op: 'SCMP_CMP_NE' }] }),
    allow(['socket'], { ...without, args: [family('SCMP_CMP_NE', AF_NETLINK)] }),
    allow(['socket'], { ...withCaps('CAP_AUDIT_WRITE'), args: [family('SCMP_CMP_NE', AF_VSOCK)] }),
  ];
}

/** Namespaces only with CAP_SYS_ADMIN; a clone without any for all; clone3 hides its flags, so it is "not there" [G14–G16]. */
function cloneRules(): SeccompRule[] {
  const s390 = ['s390', 's390x'];
  const onFlags = (index: number, value: number, valueTwo: number) => [{ index, value, valueTwo, op: 'SCMP_CMP_MASKED_EQ' }];
  const denied = Object.values(NEW_NAMESPACE_FLAGS).flatMap((flag) => [
    deny(['clone'], { args: onFlags(0, flag, flag), excludes: { caps: ['CAP_SYS_ADMIN'], arches: s390 } }),
    deny(['clone'], {
      args: onFlags(1, flag, flag),
      excludes: { caps: ['CAP_SYS_ADMIN'], arches: [] },
      includes: { caps: [], arches: s390 },
    }),
  ]);
  return [
    allow(['clone', 'clone3', 'unshare'], withCaps('CAP_SYS_ADMIN')),
    allow(['clone'], { args: onFlags(0, ANY_NEW_NAMESPACE, 0), excludes: { caps: ['CAP_SYS_ADMIN'], arches: s390 } }),
    allow(['clone'], {
      args: onFlags(1, ANY_NEW_NAMESPACE, 0),
      excludes: { caps: ['CAP_SYS_ADMIN'], arches: [] },
      includes: { caps: [], arches: s390 },
    }),
    ...denied,
    { ...deny(['clone3'], withoutCaps('CAP_SYS_ADMIN')), errnoRet: ENOSYS },
  ];
}

type Conditions = Partial<Pick<SeccompRule, 'args' | 'includes' | 'excludes'>>;
const ALWAYS = { caps: [], arches: [] };

function allow(names: readonly string[], conditions: Conditions = {}): SeccompRule {
  return { names, action: 'SCMP_ACT_ALLOW', args: [], includes: ALWAYS, excludes: ALWAYS, ...conditions };
}

function deny(names: readonly string[], conditions: Conditions = {}): SeccompRule {
  return { names, action: 'SCMP_ACT_ERRNO', errnoRet: EPERM, args: [], includes: ALWAYS, excludes: ALWAYS, ...conditions };
}

function withCaps(...caps: string[]): Conditions {
  return { includes: { caps, arches: [] } };
}

function withoutCaps(...caps: string[]): Conditions {
  return { excludes: { caps, arches: [] } };
}

function equal(index: number, value: number): LinuxSyscallArg {
  return { index, value, op: 'SCMP_CMP_EQ' };
}

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}
