/** runtime.v1.Signal without `SIGNAL_`: the index is the number on the wire; 0 is "the runtime's default". */
const SIGNALS = [
  'RUNTIME_DEFAULT SIGABRT SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGFPE SIGHUP SIGILL SIGINT SIGIO SIGIOT SIGKILL SIGPIPE',
  'SIGPOLL SIGPROF SIGPWR SIGQUIT SIGSEGV SIGSTKFLT SIGSTOP SIGSYS SIGTERM SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1',
  'SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ SIGRTMIN',
].flatMap((line) => line.split(' '));

/** The name of a CRI stop signal; undefined for "the runtime's default" and for numbers that mean nothing [P94]. */
export function stopSignalName(signal: number): string | undefined {
  if (signal === 0) return undefined;
  if (signal > 35 && signal <= 50) return `SIGRTMIN+${signal - 35}`;
  if (signal > 50 && signal <= 64) return `SIGRTMAX-${65 - signal}`;
  return signal === 65 ? 'SIGRTMAX' : SIGNALS[signal];
}
