#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh OUTDIR [--jobs N]: the small Linux guest of the tests, from Debian's packages, unpatched.
# build.sh OUTDIR --stock: Debian's own cloud kernel instead, for hosts that run guest kernel code natively.
# build.sh --packages [--stock]: the Debian packages it needs.
#
# Makes in OUTDIR: vmlinux (ELF with a PVH note), bzImage, System.map (--stock: vmlinuz), initramfs.cpio, tsckhz. Results
# are keyed by a hash of all that went in (*.stamp), so a second run returns at once; an interrupted one goes on where
# make was.
set -euo pipefail

readonly packages="busybox-static gcc libc6-dev cpio" kernel_packages="linux-source-6.1 make flex bison bc libelf-dev xz-utils lz4"
readonly tarball=/usr/src/linux-source-6.1.tar.xz busybox=/bin/busybox
readonly objects=1570	# lines make prints for a full build, for the progress line only
here=$(cd "$(dirname "$0")" && pwd)

usage() { echo "usage: ${0##*/} OUTDIR [--jobs N] [--stock] | --packages [--stock]" >&2; exit 2; }
die() { echo "linux: $*" >&2; exit 1; }

jobs=$(nproc) out= stock= list=
while [ $# -gt 0 ]; do
	case $1 in
	--packages) list=1 ;;
	--stock) stock=1 ;;
	--jobs) [ $# -gt 1 ] || usage; jobs=$2; shift ;;
	--jobs=*) jobs=${1#*=} ;;
	-j*) jobs=${1#-j} ;;
	-*) usage ;;
	*) [ -z "$out" ] || usage; out=$1 ;;
	esac
	shift
done
needed=$packages
[ -n "$stock" ] || needed+=" $kernel_packages"
[ -z "$list" ] || { echo "$needed"; exit 0; }
[ -n "$out" ] || usage
[[ $jobs =~ ^[1-9][0-9]{0,3}$ ]] || die "--jobs '$jobs': not a number from 1 to 9999"

check_tools()
{
	local tools=(gcc cpio) files=("$busybox") name missing=
	if [ -z "$stock" ]; then
		tools+=(make flex bison bc xz lz4c)
		files+=("$tarball" /usr/include/libelf.h)
	else
		tools+=(apt-get apt-cache dpkg-deb)
	fi
	for name in "${tools[@]}"; do
		command -v "$name" >/dev/null || missing+=" $name"
	done
	for name in "${files[@]}"; do
		[ -r "$name" ] || missing+=" $name"
	done
	[ -z "$missing" ] || die "missing:$missing; run: apt-get install $needed"
}

# A terminal gets one line that changes, a log a line every 15 s.
progress()
{
	local t=$((SECONDS - started))
	local text="linux: $1, $((t / 60))m$((t % 60))s"
	if [ -t 2 ]; then
		printf '\r\e[K%s' "$text" >&2
	elif [ "$t" -ge "$next_line" ]; then
		echo "$text" >&2
		next_line=$((t + 15))
	fi
}
progress_end() { if [ -t 2 ]; then printf '\r\e[K' >&2; fi; }

# run WHAT LOG COMMAND…: COMMAND in the background with its output appended to LOG; shows progress, and on failure
# the end of the log. The job is ours alone, so a signal to this script stops it too.
run()
{
	local what=$1 log=$2 pid count
	shift 2
	"$@" >>"$log" 2>&1 </dev/null &
	pid=$!
	trap 'kill "$pid" 2>/dev/null; wait "$pid" || :; progress_end; exit 130' INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		count=$(grep -cE '^  (CC|AS|AR|LD) ' "$log" || :)
		case $what in
		files) progress "$count/$((count > objects ? count : objects)) files" ;;
		*) progress "$what" ;;
		esac
		sleep 0.5
	done
	trap - INT TERM HUP
	progress_end
	if ! wait "$pid"; then
		tail -n 30 "$log" >&2
		die "failed: $*; all of the log is in $log"
	fi
}

# Only what an x86 guest kernel can need, plus all Kconfig files and Makefiles: a third of the whole. An unpacking that
# was cut short leaves no stamp and starts again.
unpack()
{
	local want=$1 dir skip=()
	[ "$(cat "$out/source.stamp" 2>/dev/null)" = "$want" ] && [ -d "$src" ] && return
	rm -rf "$src" "$obj" "$out/source.stamp"
	for dir in drivers/{gpu,net/ethernet,net/wireless,media,staging,infiniband,usb,clk,pinctrl,iio} sound \
		arch/{alpha,arc,arm,arm64,csky,hexagon,ia64,loongarch,m68k,microblaze,mips,nios2,openrisc,parisc} \
		arch/{powerpc,riscv,s390,sh,sparc,um,xtensa}; do
		skip+=("--exclude=linux-source-6.1/$dir/*.[chS]" "--exclude=linux-source-6.1/$dir/*.dts*")
	done
	for dir in tools/perf tools/testing Documentation/{devicetree,translations,driver-api,admin-guide,networking}; do
		skip+=("--exclude=linux-source-6.1/$dir")
	done
	: >"$out/unpack.log"
	run "unpacking" "$out/unpack.log" tar -C "$out" -xf "$tarball" "${skip[@]}"
	echo "$want" >"$out/source.stamp"
}

# Each line of kernel.config must be in the configuration that results, or the guest is not what its comments say.
check_config()
{
	local line name bad=
	while read -r line; do
		case $line in
		CONFIG_*)
			grep -qxF "$line" "$obj/.config" || bad+=" '$line'" ;;
		"# CONFIG_"*" is not set")
			name=${line#\# } name=${name%% *}
			! grep -q "^$name=" "$obj/.config" || bad+=" '$line'" ;;
		esac
	done <"$here/kernel.config"
	[ -z "$bad" ] || die "kernel.config asks for what this kernel does not set:$bad"
}

kernel()
{
	local make=(make -C "$src" "O=$obj" ARCH=x86 LOCALVERSION= "KCFLAGS=-mstringop-strategy=rep_8byte"
		KBUILD_BUILD_USER=kvmd KBUILD_BUILD_HOST=kvmd KBUILD_BUILD_VERSION=1
		"KBUILD_BUILD_TIMESTAMP=2024-01-01 00:00:00 UTC") log=$out/build.log

	mkdir -p "$obj"
	: >"$out/config.log"
	run "configuring" "$out/config.log" "${make[@]}" tinyconfig
	cat "$here/kernel.config" >>"$obj/.config"
	run "configuring" "$out/config.log" "${make[@]}" olddefconfig
	check_config
	# an interrupted build of the same kernel goes on counting
	[ "$(head -n 1 "$log" 2>/dev/null)" = "$1" ] || echo "$1" >"$log"
	run files "$log" "${make[@]}" "-j$jobs" vmlinux bzImage
	strip -o "$out/vmlinux.tmp" "$obj/vmlinux"
	cp "$obj/arch/x86/boot/bzImage" "$obj/System.map" "$out/"
	cp "$obj/.config" "$out/config"
	mv "$out/vmlinux.tmp" "$out/vmlinux"
}

programs()
{
	local cc=(gcc -O2 -Wall -Wextra -Werror) alone name
	alone=(-static -nostdlib -ffreestanding -fno-stack-protector -fno-pie -no-pie -fcf-protection=none
		-fno-asynchronous-unwind-tables -Wl,--build-id=none,-z,norelro)
	for name in avx button session; do
		"${cc[@]}" "${alone[@]}" -s -o "$out/$name" "$here/$name.c"
	done
	"${cc[@]}" -o "$out/tsckhz" "$here/tsckhz.c"
}

# No root and no device files are needed: each kernel brings /dev/console in an archive of its own, devtmpfs the rest.
# Owners, times and order are fixed.
initramfs()
{
	local root=$out/root i size sum

	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,etc,lib/modules,mnt,proc,root,run,sys,tests,tmp}
	install "$busybox" "$out/button" "$out/session" "$root/bin/"
	ln -s busybox "$root/bin/sh"
	install "$here/init" "$root/"
	install -m 644 "$here"/etc/* "$root/etc/"
	install "$here"/tests/* "$out/avx" "$root/tests/"
	for ((i = 0; i < 24; i++)); do
		size=$((1000 + i * 2731))
		read -r sum _ < <(head -c "$size" /dev/zero | md5sum)
		echo "$size $sum"
	done >"$root/tests/fork.sums"
	[ -z "$stock" ] || install -m 644 "$out"/modules/*.ko "$root/lib/modules/"
	find "$root" -exec touch -h -d @0 {} +
	(cd "$root" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc -R +0:+0 --reproducible) \
		>"$out/initramfs.cpio.tmp"
	mv "$out/initramfs.cpio.tmp" "$out/initramfs.cpio"
}

# Debian's cloud kernel, with the modules that /init inserts, numbered in the order of their needs. Fetched and unpacked,
# never installed.
stock_kernel()
{
	local package=$1 name file n=10
	: >"$out/stock.log"
	rm -rf "$out/stock" "$out/modules"
	mkdir -p "$out/stock" "$out/modules"
	run "fetching $package" "$out/stock.log" env -C "$out/stock" apt-get download "$package"
	run "unpacking $package" "$out/stock.log" dpkg-deb -x "$out/stock/${package}"_*.deb "$out/stock"
	for name in button evdev failover net_failover virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev \
		virtio_pci virtio_blk virtio_net virtio_console virtio-rng virtio_balloon crc16 crc32c_generic mbcache jbd2 \
		ext4; do
		file=$(find "$out/stock/lib/modules" -name "$name.ko" -print -quit)
		[ -z "$file" ] || cp "$file" "$out/modules/$((n++))-$name.ko"	# what is no module is built in
	done
	mv "$out"/stock/boot/vmlinuz-* "$out/vmlinuz"
	rm -rf "$out/stock"
}

# hash FUNCTIONS FILE…: what a result depends on: Debian's packages, the compiler, the functions that make it, our files
hash() { { echo "$versions"; declare -f $1; [ $# = 1 ] || cat "${@:2}"; } | sha256sum | cut -d' ' -f1; }
fresh() { [ "$(cat "$out/$1.stamp" 2>/dev/null)" = "$2" ] && [ -s "$out/$3" ]; }

# in a function, so that bash has read all of this file before the first long step
main()
{
	check_tools
	mkdir -p "$out"
	out=$(cd "$out" && pwd)
	case $out in *[[:space:]:]*) die "OUTDIR '$out': make cannot work in a path with blanks or colons" ;; esac
	src=$out/linux-source-6.1 obj=$out/obj
	echo '*' >"$out/.gitignore"
	exec 9>"$out/lock"
	flock -n 9 || { echo "linux: waiting for another build in $out" >&2; flock 9; }
	started=$SECONDS next_line=0

	compiler=$(gcc --version | head -n 1)
	if [ -n "$stock" ]; then
		package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p')
		[ -n "$package" ] || die "apt knows no linux-image-cloud-amd64; run: apt-get update"
		kernel_file=vmlinuz
		want=$(versions=$package hash stock_kernel)
	else
		versions="$compiler $(stat -c '%s %Y' "$tarball")"
		kernel_file=vmlinux
		want=$(hash kernel "$here/kernel.config")
	fi
	if ! fresh kernel "$want" "$kernel_file"; then
		rm -f "$out/kernel.stamp"
		if [ -n "$stock" ]; then
			stock_kernel "$package"
		else
			unpack "$(hash unpack)"
			kernel "$want"
		fi
		echo "$want" >"$out/kernel.stamp"
	fi
	versions="$compiler $(stat -c '%s %Y' "$busybox") $stock $(cat "$out/kernel.stamp")"
	want=$(hash "programs initramfs" "$here"/{init,*.[ch],etc/*,tests/*})
	if ! fresh initramfs "$want" initramfs.cpio; then
		programs
		initramfs
		echo "$want" >"$out/initramfs.stamp"
	fi
}
main
exit
