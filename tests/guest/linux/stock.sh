#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# stock.sh OUTDIR: Debian's cloud kernel (vmlinuz) with the same initramfs as the small kernel has. For hosts that run
# guest kernel code natively: emulated, its decompression alone takes minutes.
exec "$(dirname "$0")/build.sh" --stock "$@"
