#!/bin/sh
# Runs the tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.
#
#   sanitize.sh [--short] [address] [thread]
#
# "address" looks for undefined behavior, too. Without names, both. --short runs the suites that each
# one is most likely to tell something about, in the time that continuous integration has; else every
# test runs. Each has a build folder of its own, .build-address and .build-thread. Ends with 1 when a
# test fails or a sanitizer reports.
set -eu
cd "$(dirname "$0")/../.."

short=""
chosen=""
for word in "$@"; do
  case $word in
    --short) short=1 ;;
    address|thread) chosen="$chosen $word" ;;
    *)
      echo "usage: sanitize.sh [--short] [address] [thread]" >&2
      exit 64 ;;
  esac
done
[ -n "$chosen" ] || chosen="address thread"

# The Swift runtime keeps what it makes once until the end, which is no leak.
export ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=1:abort_on_error=1"
export TSAN_OPTIONS="halt_on_error=1:abort_on_error=1:second_deadlock_stack=1:suppressions=$PWD/Tests/Tools/thread_sanitizer.txt"
# A backtrace of a program with this many threads takes minutes, and the report has one.
export SWIFT_BACKTRACE=enable=no
# OpenBLAS is not built for the sanitizers; Weft's own threads are those to be watched.
export OPENBLAS_NUM_THREADS=1

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
for name in $chosen; do
  failed=""
  case $name in
    address)
      # Swift's --sanitize=undefined is refused on Linux, and Swift's own arithmetic traps anyway:
      # the C loops are what there is to check. Traps need no run-time library, and name the line.
      flags="--sanitize=address -Xcc -fsanitize=undefined -Xcc -fsanitize-trap=undefined"
      suites="CWeftVectorMathTests|WeftFormatsTests|LoopTests|ThreadTests|HostileDataTests|MemoryLimitTests|LiveRowTests|OverlapTests" ;;
    thread)
      # Indirect functions are chosen before this sanitizer is ready: one version of each loop.
      flags="--sanitize=thread -Xcc -DWEFT_NO_CLONES"
      suites="ThreadTests|ConcurrentRunTests|LoopTests|TextGeneratorTests|LiveRowTests" ;;
  esac
  set -- -c release -Xswiftc -enable-testing --scratch-path ".build-$name"
  [ -z "$short" ] || set -- "$@" --filter "$suites"
  echo "== $name: swift test $flags $*"
  # shellcheck disable=SC2086
  swift test $flags "$@" >"$log" 2>&1 || failed=1
  cat "$log"
  # A filter that no suite fits any more would pass for ever.
  grep -q "Test run with [1-9]" "$log" || failed=1
  if [ -z "$failed" ]; then
    echo "== $name: nothing reported"
  else
    echo "== $name: failed" >&2
    status=1
  fi
done
exit $status
