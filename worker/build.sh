#!/usr/bin/env bash
# Compiles the no-op. Usage: build.sh FOLDER [COMPILER]   makes FOLDER/noop
set -euo pipefail
folder=$1
compiler=${2:-gcc}
mkdir -p "$folder"
# No C library, no start-up files, no stack protector (it lives in the C library); code and data in one segment, because
# separate ones are padded to whole pages.
exec "$compiler" -Os -Wall -Wextra -Werror -static -nostdlib -ffreestanding -fno-pie -no-pie -fno-stack-protector \
  -fno-asynchronous-unwind-tables -Wl,--build-id=none,-z,noseparate-code -s -o "$folder/noop" "$(dirname "$0")/noop.c"
