#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Who may include whom (README.md, "Where to find what"). Fails on a forbidden arrow or on an include without its folder.
cd "$(dirname "$0")/.." || exit 1
bad=0
allow() {       # folder, folders it may include
    grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' --include='*.[ch]' "$1" | while IFS=: read -r file line text; do
        case "$1/$file" in
        daemon/daemon/worker*) may="daemon domain hv devices migration" ;;
        *) may=$2 ;;
        esac
        inc=$(printf '%s' "$text" | sed -E 's/.*"([^"]*)".*/\1/')
        case "$inc" in
        lock_bpf.h|list.h|verbs.h|*_gen.h) continue ;;         # made by the build
        */*) ;;
        *) echo "$file:$line: include \"$inc\" without its folder"; continue ;;
        esac
        case " $may " in
        *" ${inc%%/*} "*) ;;
        *) echo "$file:$line: $1/ may not include $inc" ;;
        esac
    done
}
out=$(
    allow domain "domain"
    allow hv "domain hv"
    allow devices "domain hv devices"
    allow migration "domain hv migration"
    allow daemon "domain daemon"
    allow tools "domain tools daemon"
)
[ -n "$out" ] && { echo "$out"; bad=1; }
# tools/ sees of daemon/ the wire and where to find its socket only
out=$(grep -rnE '#include "daemon/' --include='*.[ch]' tools | grep -vE '"daemon/(wire|paths|unix).h"')
[ -n "$out" ] && { echo "$out: tools/ may include daemon/wire.h, paths.h and unix.h only"; bad=1; }
# libraries have one home each
home() {        # header, allowed files (regex)
    out=$(grep -rnE "#include <$1" --include='*.[ch]' domain hv devices migration daemon tools | grep -vE "^($2)")
    [ -n "$out" ] && { echo "$out: <$1> belongs elsewhere"; bad=1; }
}
home 'libxml/' 'domain/xml'
home 'seccomp.h' 'hv/lock_'
home 'cap-ng.h' 'hv/lock'
home 'liburing.h' 'hv/ring|tools/benchmarks/blkhost'
home 'zlib.h' 'domain/state|devices/qcow2|devices/block_qcow2'
home 'zstd.h' 'devices/qcow2|devices/block_qcow2'
out=$(grep -rnE '\bKVM_(CREATE_VM|CREATE_VCPU|RUN|SET_USER_MEMORY_REGION)\b' --include='*.c' hv devices daemon migration | grep -E 'ioctl' | grep -v '^hv/kvm')
[ -n "$out" ] && { echo "$out: KVM ioctls live in hv/kvm*.c"; bad=1; }
exit $bad
