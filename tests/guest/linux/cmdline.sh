#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cmdline.sh product: prints the kernel command line an operator would write.
# cmdline.sh suite [SLOWDOWN]: the one for tests on hosts that emulate guest kernel code: quiet, and nothing is measured
# at boot that the host knows already. What helps on every host is in the kernel itself (CONFIG_CMDLINE).
#
# With SLOWDOWN (2…16) the guest believes in a TSC that much faster than it is, so its time runs that much slower: ticks
# are rarer, its sleeps and timeouts last longer. For boot-bound tests, and only with the TSC-deadline timer.
#
# The TSC's kHz come from $OUTDIR/tsckhz (OUTDIR as given to build.sh), or from the program that $TSCKHZ names.
# Append to either line: kvmd.run=…, kvmd.button, kvmd.KEY=VALUE (see init).
set -euo pipefail

case ${1:-} in
product)
	echo "console=ttyS0" ;;
suite)
	slow=${2:-1}
	[[ $slow =~ ^([1-9]|1[0-6])$ ]] || { echo "cmdline.sh: slow-down '$slow' is not 1…16" >&2; exit 2; }
	khz=$("${TSCKHZ:-${OUTDIR:?set OUTDIR or TSCKHZ}/tsckhz}")
	options=(
		console=ttyS0 quiet panic=-1
		# the frequency is given, so nothing is calibrated against a timer; udelay() stays in real time
		"tsc_early_khz=$((khz * slow))" "lpj=$((khz * 10))" tsc=reliable no_timer_check
		# stac and clac are a trip to the VMM each; the last clearcpuid= counts, so the kernel's own is repeated
		clearcpuid=erms,fsrm,smap
		# no folder in sysfs for each PCI slot; tests of hot-plug append acpiphp.disable=0
		acpiphp.disable=1
	)
	echo "${options[*]}" ;;
*)
	echo "usage: cmdline.sh product | suite [SLOWDOWN]" >&2
	exit 2 ;;
esac
