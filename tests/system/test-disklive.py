#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks of running machines, looked at and changed: test-disklive.py BUILD CASE...; see `cases` at the end. Judges: the Linux
in the guest, qemu-img, e2fsck."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import Failed, need_kvm, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
here = os.path.dirname(os.path.abspath(__file__))
need_kvm()
for program in ('qemu-img', 'mke2fs', 'e2fsck'):
    if not shutil.which(program):
        skip(f'{program} is not installed')

PROMPT = 'kvmd-guest:'
MIB = 1 << 20


def tool(*args, ok=(0,)):
    p = subprocess.run(args, capture_output=True, text=True)
    if p.returncode not in ok:
        raise Failed(f'{" ".join(args)}: exit {p.returncode}:\n{p.stdout}{p.stderr}')
    return p.stdout


def make(path, fmt, size, *options):
    tool('qemu-img', 'create', '-q', '-f', fmt, *options, path, str(size))
    return path


def disk(path, target, fmt, driver='', more='', source=''):
    return f'''<disk type='file' device='disk'><driver name='qemu' type='{fmt}' {driver}/><source file='{path}' {source}/>
      <target dev='{target}' bus='virtio'/>{more}</disk>'''


def xml(name, disks, linux):
    if linux:
        if not os.path.exists(f'{guest}/vmlinux') or not os.path.exists(f'{guest}/initramfs.cpio'):
            skip(f'no Linux guest: tests/guest/linux/build.sh {guest} makes it')
        command = subprocess.run(['bash', f'{here}/../guest/linux/cmdline.sh', 'suite', '4'], env=dict(os.environ, OUTDIR=guest), check=True,
                                 capture_output=True, text=True).stdout.strip()
        boot = f'<kernel>{guest}/vmlinux</kernel><initrd>{guest}/initramfs.cpio</initrd><cmdline>{command}</cmdline>'
    else:
        boot = f'<kernel>{build}/tests/guest/flat/flat-spin</kernel>'
    return f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>{128 if linux else 16}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type>{boot}</os>
  <features><acpi/><apic/></features>
  <devices>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <memballoon model='none'/>
    {''.join(disks)}
  </devices>
</domain>
'''


class Guest:
    """A Linux whose shell takes commands on its console."""

    def __init__(self, k, disks, name='d'):
        self.k, self.name, self.n = k, name, 0
        k.define(xml(name, disks, True))
        before = len(k.console(name))
        k.ctl('start', name)
        k.until(lambda: PROMPT in k.console(name)[before:], 300, 'a shell on the console')

    def type(self, script):
        """Begins it; self.ended() tells when it is over."""
        self.n += 1
        self.at = len(self.k.console(self.name))
        self.k.ctl('console', self.name, stdin=f'{script}\necho ENDED-"{self.n}" $?\n', timeout=120)

    def ended(self):
        return re.search(rf'ENDED-{self.n} (\d+)', self.k.console(self.name)[self.at:])

    def run(self, script, seconds=60, ok=True):
        self.type(script)
        self.k.until(self.ended, seconds, 'the script ends')
        out = self.k.console(self.name)[self.at:]
        if ok and self.ended()[1] != '0':
            raise Failed('the guest said:\n' + out)
        return out

    def off(self):
        self.k.ctl('console', self.name, stdin='poweroff\n')
        self.k.until(lambda: self.k.state(self.name) == 'shut off', 60, 'the guest powers itself off')


def refused(k, *args):
    p = k.ctl(*args, check=False)
    assert p.returncode, f'kvmctl {" ".join(args)} went well: {p.stdout}'
    return p.stderr


def image(path):
    return json.loads(tool('qemu-img', 'info', '-U', '--output', 'json', path))


def verbs(k):
    """What is told of disks, and limits of the machine and of its definition."""
    raw, base, top = (f'{k.root}/{n}' for n in ('raw.img', 'base.qcow2', 'top.qcow2'))
    make(raw, 'raw', 8 * MIB)
    make(base, 'qcow2', 16 * MIB)
    make(top, 'qcow2', 32 * MIB, '-b', 'base.qcow2', '-F', 'qcow2')
    k.define(xml('d', [disk(raw, 'vda', 'raw', more='<iotune><total_iops_sec>50</total_iops_sec></iotune>'), disk(top, 'vdb', 'qcow2'),
                       disk(f'{k.root}/nix', 'vdc', 'raw')], False))
    rows = k.json('domblkinfo', 'd')['images']
    assert [(r['target'], r['depth'], r['format'], r['virtual']) for r in rows[:3]] == \
        [('vda', 0, 'raw', 8 * MIB), ('vdb', 0, 'qcow2', 32 * MIB), ('vdb', 1, 'qcow2', 16 * MIB)], rows
    assert 'nix' in rows[3]['trouble'] and len(rows) == 4, rows
    for r, path in zip(rows, (raw, top, base)):
        info = image(path)
        assert r['virtual'] == info['virtual-size'] and r['allocated'] == info['actual-size'] and r['path'] == path, (r, info)
    k.define(xml('d', [disk(raw, 'vda', 'raw', more='<iotune><total_iops_sec>50</total_iops_sec></iotune>'), disk(top, 'vdb', 'qcow2')], False))
    # off
    assert k.json('blkdeviotune', 'd', 'vda')['total_iops_sec'] == 50
    assert 'not running' in refused(k, 'blkdeviotune', 'd', 'vda', '--total-iops-sec', '9', '--live')
    assert 'not running' in refused(k, 'blockresize', 'd', 'vda', '1G')
    assert 'not running' in refused(k, 'domblkstat', 'd') and 'not running' in refused(k, 'domblkerror', 'd')
    assert 'vdx' in refused(k, 'blkdeviotune', 'd', 'vdx', '--total-iops-sec', '9')
    assert 'vdx' in refused(k, 'domblkinfo', 'd', 'vdx')
    k.ctl('blkdeviotune', 'd', raw, '--total-iops-sec', '60', '--total-iops-sec-max', '600')
    assert '<total_iops_sec_max>600</total_iops_sec_max>' in k.ctl('dumpxml', 'd').stdout
    k.ctl('blkdeviotune', 'd', 'vda', '--total-iops-sec', '0')
    assert 'iotune' not in k.ctl('dumpxml', 'd').stdout
    # running
    k.ctl('start', 'd')
    text = k.ctl('domblklist', 'd').stdout.split()
    assert text == ['target', 'source', 'vda', raw, 'vdb', top], text
    assert 'disk' in k.ctl('domblklist', 'd', '--details').stdout
    k.ctl('blkdeviotune', 'd', 'vdb', '--read-bytes-sec', '1000000', '--write-iops-sec', '100', '--group-name', 'g')
    live, stored = k.ctl('dumpxml', 'd').stdout, k.ctl('dumpxml', 'd', '--inactive').stdout
    assert '<read_bytes_sec>1000000</read_bytes_sec>' in live and 'iotune' not in stored, (live, stored)
    k.ctl('blkdeviotune', 'd', 'vda', '--group-name', 'g', '--read-bytes-sec', '500000', '--live', '--config')
    assert k.json('blkdeviotune', 'd', 'vdb')['read_bytes_sec'] == 500000, 'disks of a group have its limits'
    assert k.json('blkdeviotune', 'd', 'vda', '--config')['read_bytes_sec'] == 500000
    assert k.json('blkdeviotune', 'd', 'vda', '--live')['group_name'] == 'g'
    for bad in (['--total-bytes-sec', '5', '--read-bytes-sec', '5'], ['--total-bytes-sec-max', '5'], ['--read-bytes-sec', '9', '--read-bytes-sec-max', '5'],
                ['--total-iops-sec', '-1'], ['--total-iops-sec', '99999999999999999999'], ['--total-iops-sec', '5', '--total-iops-sec-max-length', '3'],
                ['--size-iops-sec', '4096', '--total-bytes-sec', '5', '--write-iops-sec', '0']):
        for scope in ('--live', '--config'):
            if 'size' in bad[0] and scope == '--config':
                continue
            why = refused(k, 'blkdeviotune', 'd', 'vda', *bad, scope)
            assert 'InternalError' not in why, why
    assert k.json('blkdeviotune', 'd', 'vda')['read_bytes_sec'] == 500000
    k.kill()                                                    # a new kvmd knows what the machine has become
    k.start()
    assert k.json('blkdeviotune', 'd', 'vda')['read_bytes_sec'] == 500000
    k.ctl('blkdeviotune', 'd', 'vdb', '--total-bytes-sec', '0')
    # sizes
    for path, target, fmt in ((raw, 'vda', 'raw'), (top, 'vdb', 'qcow2')):
        assert str((64 if fmt == 'raw' else 96) * MIB) in k.ctl('blockresize', 'd', path, '64MiB' if fmt == 'raw' else f'{96 << 10}').stdout
        assert image(path)['virtual-size'] == (64 if fmt == 'raw' else 96) * MIB
        assert 'lost' in refused(k, 'blockresize', 'd', target, '1M')
        assert 'InternalError' not in refused(k, 'blockresize', 'd', target, '7E')
    k.ctl('suspend', 'd')
    k.ctl('blockresize', 'd', 'vdb', '1T')
    k.ctl('resume', 'd')
    assert [r['virtual'] for r in k.json('domblkinfo', 'd', 'vdb')['images']] == [1 << 40, 16 * MIB]
    stat = k.json('domblkstat', 'd')['disks']
    assert [s['target'] for s in stat] == ['vda', 'vdb'] and stat[0]['wr_req'] == 0, stat
    assert k.json('domblkerror', 'd')['disks'] == []
    k.ctl('destroy', 'd')
    tool('qemu-img', 'check', top)


def resize(k):
    """A Linux sees the new size at once, raw and qcow2, uses it, and the host's tools agree."""
    raw, top = f'{k.root}/raw.img', f'{k.root}/top.qcow2'
    make(raw, 'raw', 8 * MIB)
    make(top, 'qcow2', 8 * MIB)
    g = Guest(k, [disk(raw, 'vda', 'raw'), disk(top, 'vdb', 'qcow2')])
    for target, size in (('vda', 20 * MIB), ('vdb', 3 << 30)):
        k.ctl('blockresize', 'd', target, f'{size}b')
        out = g.run(f'for i in 1 2 3 4 5 6 7 8 9; do test $(cat /sys/block/{target}/size) = {size // 512} && break; sleep 1; done; '
                    f'echo SIZE-"{target}" $(cat /sys/block/{target}/size)')
        assert f'SIZE-{target} {size // 512}' in out, out
        g.run(f'head -c 1048576 /bin/busybox | dd of=/dev/{target} bs=65536 seek={size // 65536 - 16} conv=fsync 2>/dev/null')
    want = hashlib.md5(open(f'{guest}/root/bin/busybox', 'rb').read(MIB)).hexdigest()
    stat = {s['target']: s for s in k.json('domblkstat', 'd')['disks']}
    assert all(s['wr_bytes'] >= MIB and s['flush_req'] >= 1 and s['wr_total_times'] > 0 for s in stat.values()), stat
    g.off()
    tool('qemu-img', 'check', top)
    assert image(top)['virtual-size'] == 3 << 30 and image(raw)['virtual-size'] == 20 * MIB
    with open(raw, 'rb') as f:
        f.seek(19 * MIB)
        assert hashlib.md5(f.read()).hexdigest() == want
    out = f'{k.root}/out.raw'
    tool('qemu-img', 'dd', '-f', 'qcow2', '-O', 'raw', f'if={top}', f'of={out}', 'bs=1M', f'skip={(3 << 10) - 1}')
    assert hashlib.md5(open(out, 'rb').read()).hexdigest() == want


cases = {f.__name__: f for f in (verbs, resize)}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
