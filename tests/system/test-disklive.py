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
from kvmd import PROMPT, Failed, linux_domain, need_kvm, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
here = os.path.dirname(os.path.abspath(__file__))
need_kvm()
for program in ('qemu-img', 'mke2fs', 'e2fsck'):
    if not shutil.which(program):
        skip(f'{program} is not installed')

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
        return linux_domain(guest, name, "<memballoon model='none'/>" + ''.join(disks))
    return f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-spin</kernel></os>
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


def threads(k):
    """Disks of different I/O threads can't share limits, and that is said."""
    a, b, c = (make(f'{k.root}/{n}', 'raw', MIB) for n in 'abc')
    text = xml('d', [disk(a, 'vda', 'raw', "iothread='1'"), disk(b, 'vdb', 'raw', "iothread='2'"), disk(c, 'vdc', 'raw', "iothread='2'")], False)
    k.define(text.replace('<vcpu>', '<iothreads>2</iothreads><vcpu>'))
    k.ctl('start', 'd', '--paused')
    for target in 'vda', 'vdb':
        k.ctl('blkdeviotune', 'd', target, '--total-iops-sec', '50', '--group-name', target)
    assert 'I/O threads' in refused(k, 'blkdeviotune', 'd', 'vdb', '--group-name', 'vda')
    assert k.json('blkdeviotune', 'd', 'vdb')['group_name'] == 'vdb'
    k.ctl('blkdeviotune', 'd', 'vdc', '--group-name', 'vdb', '--total-iops-sec', '70')
    assert k.json('blkdeviotune', 'd', 'vdb')['total_iops_sec'] == 70


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


def startup(k):
    """Disks that are missing: an optional one is left out and that is told, others refuse the start."""
    there, base, top = (f'{k.root}/{n}' for n in ('there.img', 'base.img', 'top.qcow2'))
    make(there, 'raw', MIB)
    make(base, 'raw', MIB)
    make(top, 'qcow2', MIB, '-b', base, '-F', 'raw')
    os.unlink(base)
    for policy in 'mandatory', 'requisite', '':
        k.define(xml('d', [disk(f'{k.root}/nix', 'vda', 'raw', source=f"startupPolicy='{policy}'" if policy else '')], False))
        assert 'nix' in refused(k, 'start', 'd')
    optional = "startupPolicy='optional'"
    k.define(xml('d', [disk(f'{k.root}/nix', 'vda', 'raw', source=optional), disk(there, 'vdb', 'raw', source=optional), disk(top, 'vdc', 'qcow2', source=optional),
                       disk(f'{k.root}/nix.iso', 'sda', 'raw', more='<readonly/>', source=optional).replace("device='disk'", "device='cdrom'")
                       .replace("bus='virtio'", "bus='sata'")], False))
    p = k.ctl('start', 'd')
    assert p.stderr.count('startupPolicy') == 3 and 'base.img' in p.stderr, p.stderr
    gone = {e['data']['target']: e['data']['path'] for e in k.events() if e['event'] == 'DISK_DROPPED'}
    assert gone == {'vda': f'{k.root}/nix', 'vdc': top, 'sda': f'{k.root}/nix.iso'}, gone
    disks = [(d['target'], d.get('source')) for d in k.json('domblklist', 'd')['disks']]
    assert disks == [('vdb', there), ('sda', None)], disks
    assert len(k.json('domblklist', 'd', '--inactive')['disks']) == 4
    k.ctl('destroy', 'd')
    # one that is there but can't be used is not missing
    os.mkdir(f'{k.root}/folder')
    k.define(xml('d', [disk(f'{k.root}/folder', 'vda', 'raw', source=optional)], False))
    assert 'folder' in refused(k, 'start', 'd')


class Tmpfs:
    """A small file system of the host's, with a ballast that fills it up to some KiB."""

    def __init__(self, path, mib):
        self.path, self.ballast = path, f'{path}/ballast'
        os.mkdir(path)
        p = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={mib}m,mode=755', 'kvmd-test', path], capture_output=True, text=True)
        if p.returncode:
            os.rmdir(path)
            skip(f'no tmpfs can be mounted here: {p.stderr.strip()}')

    def free(self):
        s = os.statvfs(self.path)
        return s.f_bavail * s.f_frsize

    def leave(self, n):
        with open(self.ballast, 'wb') as f:
            f.write(bytes(max(self.free() - n, 0)))

    def drop(self):
        os.unlink(self.ballast)

    def close(self):
        subprocess.run(['umount', '-l', self.path])


def space(k):
    """disk-usage, and the events before a file system is full."""
    os.makedirs(f'{k.root}/etc/kvmd', exist_ok=True)
    with open(f'{k.root}/etc/kvmd/kvmd.conf', 'w') as f:
        f.write('disk_low_interval = 100\ndisk_low_percent = 25\n')
    k.kill()
    k.start()
    small = Tmpfs(f'{k.root}/small', 16)
    try:
        base, top, raw, other = (f'{small.path}/{n}' for n in ('base.qcow2', 'top.qcow2', 'raw.img', 'other.qcow2'))
        make(base, 'qcow2', 8 * MIB)
        for path in top, other:
            make(path, 'qcow2', 24 * MIB, '-b', base, '-F', 'qcow2')
        make(raw, 'raw', 8 * MIB)
        k.define(xml('a', [disk(top, 'vda', 'qcow2'), disk(raw, 'vdb', 'raw')], False))
        k.define(xml('b', [disk(other, 'vda', 'qcow2')], False))
        k.define(xml('c', [disk(raw, 'vda', 'raw', more='<readonly/>')], False))
        k.ctl('start', 'a')
        k.ctl('start', 'b')
        u = k.json('disk-usage')
        assert [(i['domain'], i['target'], i['depth'], i['virtual'] // MIB) for i in u['images']] == \
            [('a', 'vda', 0, 24), ('a', 'vda', 1, 8), ('a', 'vdb', 0, 8), ('b', 'vda', 0, 24), ('b', 'vda', 1, 8), ('c', 'vda', 0, 8)], u
        used = {p: os.stat(p).st_blocks * 512 for p in (base, top, raw, other)}
        fs, = u['filesystems']
        promised = 24 * MIB - used[top] + 24 * MIB - used[other] + 8 * MIB - used[raw]
        assert fs['path'] == small.path and fs['size'] == 16 * MIB and fs['used'] == sum(used.values()) and fs['promised'] == promised, (fs, used)
        assert fs['free'] == small.free() and fs['lacking'] == promised - fs['free'], fs
        assert len(k.json('disk-usage', 'b')['images']) == 2 and 'lacking' in k.ctl('disk-usage').stdout
        assert 'nix' in refused(k, 'disk-usage', 'nix')

        def told():
            return [(e['event'], e['data']['machines']) for e in k.events() if e['event'].startswith('DISK_SPACE')]
        want = []
        for _ in range(2):
            small.leave(3 * MIB)
            want.append(('DISK_SPACE_LOW', ['a', 'b']))
            k.until(lambda: told() == want, 20, 'little space is told')
            time.sleep(0.5)                             # once, not with every look
            assert told() == want, told()
            small.drop()
            want.append(('DISK_SPACE_OK', ['a', 'b']))
            k.until(lambda: told() == want, 20, 'space is told')
        e = [e['data'] for e in k.events() if e['event'] == 'DISK_SPACE_LOW'][0]
        assert e['path'] == small.path and e['free'] <= 3 * MIB and e['limit'] // MIB == 3 and e['size'] == 16 * MIB, e
        assert 'are left' in open(f'{k.root}/kvmd.log').read()
        k.ctl('destroy', 'a')
        k.ctl('destroy', 'b')
    finally:
        for d in k.json('list').get('domains', []):
            k.ctl('destroy', d['name'], check=False)
        small.close()


def full(k):
    """The same with a guest that keeps 32 writes in flight by itself: raw and qcow2, many times full."""
    small = Tmpfs(f'{k.root}/small', 24)
    size = 8 * MIB
    try:
        for fmt in 'raw', 'qcow2':
            path = make(f'{small.path}/{fmt}', fmt, size)
            flat = f'{build}/tests/guest/flat/flat-blk'
            text = xml(fmt, [disk(path, 'vda', fmt)], False).replace(f'{build}/tests/guest/flat/flat-spin</kernel>',
                       f'{flat}</kernel><cmdline>op=scatter bs=4096 qd=32 ops={size // 4096} ms=600000 hz=2000000000</cmdline>')
            k.define(text.replace("<memory unit='MiB'>16", "<memory unit='MiB'>64"))
            small.leave(MIB)
            k.ctl('start', fmt)
            for i in range(5):
                k.until(lambda: k.state(fmt) == 'paused', 30, 'the machine pauses')
                assert 'no space' in k.ctl('domstate', fmt, '--reason').stdout
                small.drop()
                small.leave(MIB if i % 2 else 0)
                k.ctl('resume', fmt)
            k.until(lambda: k.state(fmt) == 'paused', 30, 'the machine pauses')
            small.drop()
            k.ctl('resume', fmt)
            k.until(lambda: 'done' in k.console(fmt) or 'failed' in k.console(fmt), 60, 'the guest is done')
            m = re.search(r'operations (\d+) .*errors (\d+) wrong (\d+)', k.console(fmt))
            assert m and m.groups() == (str(size // 4096), '0', '0'), k.console(fmt)
            k.until(lambda: k.state(fmt) == 'shut off', 20, 'the guest ends by itself')
            if fmt == 'qcow2':
                tool('qemu-img', 'check', path)
                tool('qemu-img', 'convert', '-f', fmt, '-O', 'raw', path, f'{k.root}/out')
                path = f'{k.root}/out'
            with open(path, 'rb') as f:
                data = f.read()
            for i in range(size // 4096):
                assert int.from_bytes(data[i * 4096:i * 4096 + 8], 'little') == i, f'{fmt}: block {i}'
            os.unlink(f'{small.path}/{fmt}')
    finally:
        for d in k.json('list').get('domains', []):
            k.ctl('destroy', d['name'], check=False)
        small.close()


def tune(k):
    """Limits hold from the moment they are set, up and down, alone and shared, and leave nothing waiting behind."""
    paths = [make(f'{k.root}/{n}', 'raw', 8 * MIB) for n in ('a.img', 'b.img')]
    for name, path in zip('ab', paths):
        text = xml(name, [disk(path, 'vda', 'raw')], False).replace('flat-spin</kernel>',
                   'flat-blk</kernel><cmdline>op=randread bs=4096 qd=16 ms=600000 hz=2000000000</cmdline>')
        k.define(text.replace("<memory unit='MiB'>16", "<memory unit='MiB'>64"))
    k.ctl('start', 'a')

    def rate(seconds=2):
        begun, first = time.monotonic(), k.json('domblkstat', 'a')['disks'][0]
        time.sleep(seconds)
        took, last = time.monotonic() - begun, k.json('domblkstat', 'a')['disks'][0]
        return [(last[key] - first[key]) / took for key in ('rd_req', 'rd_bytes')]

    free = rate()[0]
    said = [f'{free:.0f} reads/s without a limit']
    for limit in 50, 400, 20:
        k.ctl('blkdeviotune', 'a', 'vda', '--total-iops-sec', str(limit))
        time.sleep(0.3)                                 # what the last limit allowed to be saved up
        got = rate()[0]
        said.append(f'{got:.0f} of {limit}')
        assert limit * 0.7 < got < limit * 1.4, said
    k.ctl('blkdeviotune', 'a', 'vda', '--total-iops-sec', '0', '--read-bytes-sec', str(MIB))
    time.sleep(0.3)
    got = rate()
    said.append(f'{got[1] / MIB:.2f} MiB/s of 1')
    assert 0.7 < got[1] / MIB < 1.4, said
    k.ctl('blkdeviotune', 'a', 'vda', '--read-bytes-sec', '0')
    got = rate()[0]
    said.append(f'{got:.0f} afterwards')
    assert got > 1000 and got > free / 4, said
    return ', '.join(said)


def nospace(k):
    """The host runs out of space under a sparse image: the machine pauses, and when there is space and it is let go on, nothing
    was lost. With error_policy='report' the guest is told instead."""
    small = Tmpfs(f'{k.root}/small', 64)
    try:
        return nospace_on(k, small)
    finally:
        for d in k.json('list', '--all').get('domains', []):
            k.ctl('destroy', d['name'], check=False)
        small.close()


def nospace_on(k, small):
    raw, top, told = (f'{small.path}/{n}' for n in ('raw.img', 'top.qcow2', 'told.img'))
    for path in raw, told:
        make(path, 'raw', 48 * MIB)
    tool('mke2fs', '-q', '-F', '-t', 'ext4', '-E', 'lazy_itable_init=0', raw)
    tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, top)
    g = Guest(k, [disk(raw, 'vda', 'raw'), disk(top, 'vdb', 'qcow2'), disk(told, 'vdc', 'raw', "error_policy='report'")])
    want = {}
    for target in 'vda', 'vdb':
        g.run(f'mkdir -p /m && mount -t ext4 /dev/{target} /m && echo small >/m/before && sync')
        small.leave(256 << 10)
        g.type(f'cat /bin/busybox /bin/busybox >/m/f && sync && echo 3 >/proc/sys/vm/drop_caches && echo SUM-"{target}" $(md5sum </m/f) && umount /m')
        k.until(lambda: k.state('d') == 'paused', 60, 'the machine pauses')
        assert k.ctl('domstate', 'd', '--reason').stdout.strip() == 'paused (no space left for a disk)'
        assert k.json('domblkerror', 'd')['disks'] == [{'target': target, 'error': 'no space'}]
        e = [e for e in k.events() if e['event'] == 'BLOCK_IO_ERROR'][-1]['data']
        assert e['target'] == target and e['nospace'] and e['action'] == 'stop' and e['operation'] == 'write' and e['device'] and e['node-name'], e
        # still full: it pauses again, nothing is lost by trying
        n = len([e for e in k.events() if e['event'] == 'BLOCK_IO_ERROR'])
        k.ctl('resume', 'd')
        k.until(lambda: len([e for e in k.events() if e['event'] == 'BLOCK_IO_ERROR']) > n and k.state('d') == 'paused', 30, 'it pauses again')
        if target == 'vdb':                             # a new kvmd knows why, too
            k.kill()
            k.start()
            k.until(lambda: k.state('d') == 'paused', 20, 'it is known again')
            assert 'I/O error' in k.ctl('domstate', 'd', '--reason').stdout
        small.drop()
        k.ctl('resume', 'd')
        k.until(g.ended, 120, 'the script ends')
        assert g.ended()[1] == '0', k.console('d')[g.at:]
        want[target] = re.search(rf'SUM-{target} ([0-9a-f]+)', k.console('d')[g.at:])[1]
        assert k.json('domblkerror', 'd')['disks'] == [] and k.state('d') == 'running'
    small.leave(64 << 10)
    out = g.run('cat /bin/busybox | dd of=/dev/vdc bs=65536 conv=fsync; test $? != 0')
    assert 'rror' in out and k.state('d') == 'running', out
    e = [e for e in k.events() if e['event'] == 'BLOCK_IO_ERROR'][-1]['data']
    assert e['target'] == 'vdc' and e['action'] == 'report' and e['nospace'], e
    small.drop()
    g.off()
    busybox = open(f'{guest}/root/bin/busybox', 'rb').read()
    assert set(want.values()) == {hashlib.md5(busybox * 2).hexdigest()}, want
    tool('qemu-img', 'check', top)
    tool('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', top, f'{k.root}/top.raw')
    for path in raw, f'{k.root}/top.raw':
        tool('e2fsck', '-fn', path)
        p = subprocess.run(['debugfs', '-R', 'cat /f', path], capture_output=True, check=True)
        assert p.stdout == busybox * 2


cases = {f.__name__: f for f in (verbs, threads, resize, startup, tune, space, full, nospace)}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
