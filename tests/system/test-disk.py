#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks of Linux guests: test-disk.py BUILD CASE...; see `cases` at the end. What a guest leaves is judged by others'
programs: e2fsck, qemu-img, md5sum."""
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import PROMPT, Failed, judge_image, linux_domain, need_kvm, need_linux, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
need_kvm()
need_linux(guest)
for tool in ('qemu-img', 'mke2fs', 'e2fsck', 'debugfs'):
    if not shutil.which(tool):
        skip(f'{tool} is not installed')

SIZE = 24 << 20


def tool(*args, ok=(0,), stdin=None):
    p = subprocess.run(args, capture_output=True, text=True, input=stdin)
    if p.returncode not in ok:
        raise Failed(f'{" ".join(args)}: exit {p.returncode}:\n{p.stdout}{p.stderr}')
    return p.stdout


def make_raw(path, size=SIZE, fs=True):
    with open(path, 'wb') as f:
        f.truncate(size)
    if fs:
        tool('mke2fs', '-q', '-F', '-t', 'ext4', path)


def convert(source, to, *options):
    tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', *options, source, to)


def disk(path, target, fmt, driver='', more=''):
    return f'''<disk type='file' device='disk'><driver name='qemu' type='{fmt}' {driver}/><source file='{path}'/>
      <target dev='{target}' bus='virtio'/>{more}</disk>'''


def xml(name, disks, vcpus=1):
    return linux_domain(guest, name, ''.join(disks), vcpus=vcpus)


def guest_run(k, name, disks, script, vcpus=1, seconds=400):
    """One life of a guest: boots, types the script at its shell, and waits until the guest has powered itself off. What it
    said."""
    k.define(xml(name, disks, vcpus))
    before = len(k.console(name))
    k.ctl('start', name)
    k.until(lambda: PROMPT in k.console(name)[before:] or k.state(name) != 'running', 300, 'a shell on the console')
    k.ctl('console', name, stdin=f'{script}\necho SCRIPT-"ENDED" $?\npoweroff\n', timeout=seconds)
    k.until(lambda: k.state(name) == 'shut off', seconds, 'the guest powers itself off')
    out = k.console(name)[before:]
    if 'SCRIPT-ENDED 0' not in out:
        raise Failed('the guest said:\n' + out)
    for bad in ('BUG:', 'WARNING:', 'I/O error', 'EXT4-fs error', 'Call Trace', 'segfault', 'timed out'):
        assert bad not in out, f'"{bad}" on the console:\n{out}'
    return out


def write_script(*devices):
    """Mounts each, writes files, reads them back past the cache, and prints their sums. Not much: on a host that emulates
    guest kernel code each byte and each program costs."""
    lines = ['set -e', 'mkdir -p /m']
    for d in devices:
        lines += [f'mount -t ext4 /dev/{d} /m', f'head -c 700001 /bin/busybox >/m/a-{d}', 'mkdir /m/dir',
                  f'for i in 1 2 3 4 5; do echo {d} $i $(cat /proc/uptime) >/m/dir/$i; done', 'sync', 'rm /m/dir/3',
                  'dd if=/bin/busybox of=/m/b bs=4096 count=100 seek=200 conv=fsync 2>/dev/null', 'umount /m', f'mount -t ext4 /dev/{d} /m',
                  f'echo SUM {d} $(cat /m/a-{d} /m/b /m/dir/[1-8] | md5sum)', 'umount /m']
    return '\n'.join(lines)


def read_script(*devices):
    lines = ['set -e', 'mkdir -p /m']
    for d in devices:
        lines += [f'mount -t ext4 -o ro /dev/{d} /m', f'echo SUM {d} $(cat /m/a-{d} /m/b /m/dir/[1-8] | md5sum)', 'umount /m']
    return '\n'.join(lines)


def sums(out):
    return dict(re.findall(r'^SUM (\S+) ([0-9a-f]{32})', out, re.M))


def judge(path, fmt, target, want):
    """The host's view: structure of the image, of the file system, and the sum of the files."""
    raw = path + '.raw' if fmt == 'qcow2' else path
    judge_image(path, fmt, raw if fmt == 'qcow2' else None)
    tool('e2fsck', '-fn', raw)
    h = hashlib.md5()
    for name in (f'a-{target}', 'b', *(f'dir/{i}' for i in (1, 2, 4, 5))):
        h.update(subprocess.run(['debugfs', '-R', f'cat /{name}', raw], capture_output=True, check=True).stdout)
    assert h.hexdigest() == want, f'{path}: the host reads {h.hexdigest()}, the guest wrote {want}'


def write(k, disks, images, vcpus=1):
    """The first life: writes, then the host looks. The sums, by target."""
    targets = [t for _, _, t in images]
    first = sums(guest_run(k, 'd', disks, write_script(*targets), vcpus))
    assert sorted(first) == sorted(targets), first
    for path, fmt, target in images:
        judge(path, fmt, target, first[target])
    return first


def formats(k):
    """Raw and qcow2, written in one life and read in a second, where there are more disks: serial, block sizes, read-only, number
    of queues as the guest sees them; a target of another bus."""
    plain, base, top, a, b = (f'{k.root}/{n}' for n in ('raw.img', 'base.raw', 'q.qcow2', 'a.img', 'b.img'))
    make_raw(plain)
    make_raw(base)
    convert(base, top)
    with open(a, 'wb') as f:
        f.write(random.Random(1).randbytes(1 << 20))
    make_raw(b, 8 << 20, fs=False)
    disks = [disk(plain, 'vda', 'raw'), disk(top, 'vdb', 'qcow2')]
    first = write(k, disks, [(plain, 'raw', 'vda'), (top, 'qcow2', 'vdb')])
    out = guest_run(k, 'd', disks + [
        disk(a, 'vdc', 'raw', "cache='writethrough'", "<readonly/><serial>KVMD-serial-0</serial>"),
        disk(b, 'sda', 'raw', "queues='3'", "<blockio logical_block_size='4096' physical_block_size='4096'/>").replace("bus='virtio'", "bus='sata'"),
    ], read_script('vda', 'vdb') + '''
cd /sys/block
for d in vdc vdd; do echo ATTR $d $(cat $d/serial) $(cat $d/ro) $(cat $d/size) $(cat $d/queue/logical_block_size) $(cat $d/queue/write_cache | tr ' ' _) $(ls $d/mq | wc -l); done
echo SUM vdc $(md5sum </dev/vdc)
! dd if=/dev/zero of=/dev/vdc bs=512 count=1 2>/dev/null || echo RO-"BROKEN"
head -c 2000000 /bin/busybox | dd of=/dev/vdd bs=65536 conv=fsync 2>/dev/null''', vcpus=3)
    found = dict((m[0], m[1].split()) for m in re.findall(r'^ATTR (\S+) (.*?)\s*$', out, re.M))
    assert found['vdc'] == ['KVMD-serial-0', '1', '2048', '512', 'write_through', '1'], found
    assert found['vdd'] == ['0', '16384', '4096', 'write_back', '3'], found
    assert sums(out) == dict(first, vdc=hashlib.md5(open(a, 'rb').read()).hexdigest()), (sums(out), first)
    assert 'RO-BROKEN' not in out
    with open(b, 'rb') as f:
        assert f.read(1 << 20) == open(f'{guest}/root/bin/busybox', 'rb').read(1 << 20)


def both(k):
    """Raw and qcow2 on a backing chain, 4 queues each, io by threads and by the ring, 2 vCPUs."""
    plain, base, middle, top = (f'{k.root}/{n}' for n in ('raw.img', 'base.raw', 'middle.qcow2', 'top.qcow2'))
    make_raw(plain)
    make_raw(base)
    tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', middle)
    tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'middle.qcow2', '-F', 'qcow2', top)
    before = [hashlib.md5(open(p, 'rb').read()).hexdigest() for p in (base, middle)]
    disks = [disk(plain, 'vda', 'raw', "queues='4' io='threads' discard='unmap'"), disk(top, 'vdb', 'qcow2', "queues='4' io='io_uring'")]
    first = write(k, disks, [(plain, 'raw', 'vda'), (top, 'qcow2', 'vdb')], vcpus=2)
    second = sums(guest_run(k, 'd', disks, read_script('vda', 'vdb'), vcpus=2))
    assert first == second, (first, second)
    assert before == [hashlib.md5(open(p, 'rb').read()).hexdigest() for p in (base, middle)], 'a backing image was written'


def trim(k):
    """fstrim gives space back, on raw and on qcow2."""
    plain, top = f'{k.root}/raw.img', f'{k.root}/q.qcow2'
    make_raw(plain)
    convert(plain, top)
    script = ['set -e', 'mkdir -p /m']
    for d in ('vda', 'vdb'):
        script += [f'mount -t ext4 /dev/{d} /m', 'cat /bin/busybox /bin/busybox /bin/busybox >/m/f', 'sync', 'rm /m/f', 'sync', 'fstrim /m', 'umount /m']
    guest_run(k, 'd', [disk(plain, 'vda', 'raw'), disk(top, 'vdb', 'qcow2')], '\n'.join(script))
    used = [os.stat(p).st_blocks * 512 for p in (plain, top)]
    assert max(used) < 5 << 20, f'{used} bytes are still used'
    tool('qemu-img', 'check', top)
    return f'{used[0] >> 10} and {used[1] >> 10} KiB used afterwards'


def locks(k):
    """An image is used by one machine at a time, and whoever comes second is told by whom."""
    path = f'{k.root}/raw.img'
    make_raw(path, 8 << 20)
    k.define(xml('first', [disk(path, 'vda', 'raw')]))
    k.define(xml('second', [disk(path, 'vda', 'raw')]))
    k.define(xml('reader', [disk(path, 'vda', 'raw', more='<readonly/>')]))
    k.ctl('start', 'first', '--paused')
    for name in ('second', 'reader'):
        p = k.ctl('start', name, check=False)
        assert p.returncode and "machine 'first'" in p.stderr, p.stderr
    k.ctl('destroy', 'first')
    k.ctl('start', 'reader', '--paused')
    k.define(xml('reader2', [disk(path, 'vda', 'raw', more='<readonly/>')]))
    k.ctl('start', 'reader2', '--paused')
    p = k.ctl('start', 'second', check=False)
    assert p.returncode and "machine 'reader" in p.stderr, p.stderr


cases = {f.__name__: f for f in (formats, both, trim, locks)}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
