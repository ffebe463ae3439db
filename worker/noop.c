/*
 * The no-op that is started inside images in order to have them pulled. It has two jobs:
 *
 *   noop         ends at once with 0: what a warmer runs in each image instead of what the image would run
 *   noop TARGET  copies itself to TARGET: what the init container does, since an image may hold nothing to start
 *
 * Without a C library and without headers, so that it needs nothing of the image that it runs in.
 */

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, OPENAT = 257, UNLINKAT = 263, FCHMOD = 91, CLOSE = 3, EXIT = 231 };
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, OPENAT = 56, UNLINKAT = 35, FCHMOD = 52, CLOSE = 57, EXIT = 94 };
#else
#error "only amd64 and arm64 are known here"
#endif

/* Of asm-generic/fcntl.h, the same on both. */
enum { AT_FDCWD = -100, O_WRONLY = 01, O_CREAT = 0100, O_EXCL = 0200 };

static long call(long number, long a, long b, long c, long d) {
#if defined(__x86_64__)
  register long r10 __asm__("r10") = d;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                   : "rcx", "r11", "memory");
  return result;
#else
  register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c, x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
#endif
}

static void print(const char *text) {
  long length = 0;
  while (text[length]) length++;
  call(WRITE, 2, (long)text, length, 0);
}

/* Tells what could not be done and the number of the error, as errno(3) lists them; gives the exit code. */
static int fail(const char *what, const char *path, long error) {
  char digits[] = "000000\n", *number = digits + sizeof digits - 2;
  for (; error && number > digits; error /= 10) *--number = '0' + error % 10;
  print("noop: cannot ");
  print(what);
  print(path);
  print(": error ");
  print(number);
  return 1;
}

static int copy(const char *target) {
  static const char self[] = "/proc/self/exe";
  static char buffer[4096];
  long in = call(OPENAT, AT_FDCWD, (long)self, 0, 0);
  if (in < 0) return fail("open ", self, -in);
  /* Made anew: an init container that is run again finds the file of the first time, which may be in use. */
  call(UNLINKAT, AT_FDCWD, (long)target, 0, 0);
  long out = call(OPENAT, AT_FDCWD, (long)target, O_WRONLY | O_CREAT | O_EXCL, 0755);
  if (out < 0) return fail("make ", target, -out);
  for (;;) {
    long got = call(READ, in, (long)buffer, sizeof buffer, 0);
    if (got < 0) return fail("read ", self, -got);
    if (got == 0) break;
    for (long done = 0; done < got;) {
      long put = call(WRITE, out, (long)(buffer + done), got - done, 0);
      if (put < 0) return fail("write ", target, -put);
      done += put;
    }
  }
  long error = call(FCHMOD, out, 0755, 0, 0); /* whatever the umask is */
  if (error >= 0) error = call(CLOSE, out, 0, 0, 0);
  return error < 0 ? fail("write ", target, -error) : 0;
}

/* The stack as the kernel leaves it: the count of the arguments, then the arguments. */
__attribute__((used)) void begin(long *stack) {
  const char **arguments = (const char **)(stack + 1);
  call(EXIT, stack[0] > 1 ? copy(arguments[1]) : 0, 0, 0, 0);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
#else
__asm__(".globl _start\n_start: mov x0, sp\n bl begin\n");
#endif
