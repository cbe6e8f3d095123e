#!/bin/sh
# Runs tests of the kernels as older x86-64 CPUs run them: with AVX2 and without AVX at all.
#
#   other_cpus.sh
#
# Needs the tests built (`swift build -c release -Xswiftc -enable-testing --build-tests`) and
# qemu-x86_64 (Debian: qemu-user), which tells the program of another CPU. Ends with 1 when a test
# fails. On other architectures there is nothing to run.
set -eu
cd "$(dirname "$0")/../.."
if [ "$(uname -m)" != x86_64 ]; then
  echo "no x86-64: nothing to run"
  exit 0
fi
export NO_COLOR=1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
for cpu in Haswell Nehalem; do
  echo "== as a $cpu"
  # OpenBLAS names the kernels that it takes: an emulator without AVX2 makes no Haswell.
  qemu-x86_64 -cpu "$cpu" .build/release/weft doctor 2>/dev/null >.build/other_cpus.log
  grep "^blas .* $cpu " .build/other_cpus.log
  grep "^self-test ok" .build/other_cpus.log
  qemu-x86_64 -cpu "$cpu" .build/release/WeftPackageTests.xctest --testing-library swift-testing \
    --filter "^(CWeftVectorMathTests|WeftOpsTests.ReferenceTests)" 2>&1 |
    grep -v "qemu-x86_64: warning" >.build/other_cpus.log || true
  tail -n 1 .build/other_cpus.log
  grep -qE "Test run with [1-9][0-9]* tests .* passed" .build/other_cpus.log || {
    grep "✘" .build/other_cpus.log || cat .build/other_cpus.log
    exit 1
  }
done
