#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Media of drives: test-media.py BUILD CASE...; the guests are the small Linux and a flat guest that never looks."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import PROMPT, guest_says, linux_domain, need_kvm, refused, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
MIB = 1 << 20
need_kvm()


def xml(name, disks, linux=False):
    if linux:
        return linux_domain(guest, name, "<memballoon model='none'/>" + disks)
    return f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-spin</kernel></os>
  <features><acpi/><apic/></features>
  <devices>
    <serial type='pty'><target port='0'/></serial>
    <memballoon model='none'/>
    {disks}
  </devices>
</domain>
'''


def drive(source='', bus="dev='sda' bus='sata'", more='', fmt='raw', policy=''):
    policy = f" startupPolicy='{policy}'" if policy else ''
    source = f"<source file='{source}'{policy}/>" if source else ''
    return f"<disk type='file' device='cdrom'><driver name='qemu' type='{fmt}'/>{source}<target {bus}/><readonly/>{more}</disk>"


def medium(k, name, size, seed):
    path = f'{k.root}/{name}'
    with open(path, 'wb') as f:
        f.write(hashlib.sha512(seed).digest() * (size // 64))
    return path


def sum_of(path):
    with open(path, 'rb') as f:
        return hashlib.md5(f.read()).hexdigest()


def open_files(k, name):
    pid = k.json('dominfo', name)['pid']
    return [os.readlink(f'/proc/{pid}/fd/{x}') for x in os.listdir(f'/proc/{pid}/fd')]


def blocks(k, name):
    return {b['device']: b for b in k.json('qmp', name, 'query-block')}


def trays(k):
    return [e['data']['tray-open'] for e in k.events() if e['event'] == 'DEVICE_TRAY_MOVED']


def qmp(k, name, command, check=True, **arguments):
    text = json.dumps({n.replace('_', '-'): v for n, v in arguments.items()})
    p = k.ctl('qmp', name, command, text, check=check)
    return p


def flat(k):
    """Every way to change a medium, what is told of it, and what is refused."""
    one, two = medium(k, 'one.iso', MIB, b'1'), medium(k, 'two.iso', 2 * MIB, b'2')
    hard = medium(k, 'hard.img', MIB, b'3')
    k.define(xml('f', drive() + f"<disk><source file='{hard}'/><target dev='vda'/></disk>"))
    k.ctl('start', 'f')
    b = blocks(k, 'f')['drive-sata-disk0']
    assert b['removable'] and b['tray_open'] is False and 'inserted' not in b, b
    assert 'tray_open' not in blocks(k, 'f')['drive-virtio-disk0'] and not blocks(k, 'f')['drive-virtio-disk0']['removable']
    refused(k, 'has no medium', 'change-media', 'f', 'sda', '--eject')
    assert k.json('change-media', 'f', 'sda', one, '--insert')['alias'] == 'sata-disk0'
    b = blocks(k, 'f')['drive-sata-disk0']
    assert b['inserted']['file'] == one and b['inserted']['image']['virtual-size'] == MIB and b['inserted']['ro'], b
    first = b['inserted']['node-name']
    assert first in [n['node-name'] for n in k.json('qmp', 'f', 'query-named-block-nodes')]
    assert one in k.ctl('dumpxml', 'f').stdout and one not in k.ctl('dumpxml', 'f', '--inactive').stdout and one in open_files(k, 'f')
    assert trays(k) == [True, False]
    refused(k, 'has a medium', 'change-media', 'f', 'sda', two, '--insert')
    refused(k, 'not removable', 'change-media', 'f', 'vda', two)
    refused(k, 'no drive', 'change-media', 'f', 'sdx', two)
    refused(k, 'no.*gone.iso', 'change-media', 'f', 'sda', f'{k.root}/gone.iso')
    refused(k, 'in use', 'change-media', 'f', 'sda', hard)
    refused(k, 'which medium', 'change-media', 'f', 'sda')
    refused(k, 'at a time', 'change-media', 'f', 'sda', two, '--insert', '--update')
    refused(k, 'leave', 'change-media', 'f', 'sda', two, '--eject')
    refused(k, 'neither', 'change-media', 'f', 'sda', k.root)
    refused(k, 'driver', 'change-media', 'f', 'sda', two, '--format', 'vmdk')
    assert blocks(k, 'f')['drive-sata-disk0']['inserted']['file'] == one and trays(k) == [True, False]
    k.ctl('change-media', 'f', one, two, '--live', '--config')                  # the drive by what is in it: but the definition's is empty
    b = blocks(k, 'f')['drive-sata-disk0']
    assert b['inserted']['file'] == two and b['inserted']['node-name'] != first, b
    assert one not in open_files(k, 'f') and two in open_files(k, 'f')


def flat_more(k):
    """Definitions, locks, update-device, QMP, and a kvmd that dies."""
    one, two = medium(k, 'one.iso', MIB, b'1'), medium(k, 'two.iso', 2 * MIB, b'2')
    k.define(xml('f', drive(one) + drive(bus="dev='vdb' bus='virtio'")))
    k.ctl('change-media', 'f', 'sda', '--eject')                        # off: the definition
    assert one not in k.ctl('dumpxml', 'f').stdout
    k.ctl('change-media', 'f', 'sda', one, '--config')
    k.ctl('start', 'f')
    k.ctl('change-media', 'f', 'sda', two, '--live', '--config')
    assert two in k.ctl('dumpxml', 'f').stdout and two in k.ctl('dumpxml', 'f', '--inactive').stdout and one not in k.ctl('dumpxml', 'f').stdout
    # a medium is locked for readers as long as it is in
    k.define(xml('g', f"<disk><source file='{two}'/><target dev='vda'/></disk>"))
    refused(k, "in use by machine 'f'", 'start', 'g')
    k.ctl('change-media', 'f', 'sda', '--eject')
    assert "tray='open'" not in k.ctl('dumpxml', 'f').stdout
    k.ctl('start', 'g')
    refused(k, "in use by machine 'g'", 'change-media', 'f', 'sda', two)
    k.ctl('destroy', 'g')
    # update-device, as libvirt's clients do it
    k.ctl('update-device', 'f', '-', stdin=drive(one, more='<iotune><total_iops_sec>9</total_iops_sec></iotune>'))
    text = k.ctl('dumpxml', 'f').stdout
    assert one in text and '<total_iops_sec>9<' in text, text
    refused(k, "'serial'", 'update-device', 'f', '-', stdin=drive(two, more='<serial>ABC</serial>'))
    assert one in k.ctl('dumpxml', 'f').stdout
    k.ctl('update-device', 'f', '-', stdin=drive())
    assert 'inserted' not in blocks(k, 'f')['drive-sata-disk0']
    k.ctl('update-device', 'f', '-', stdin=drive(two, more='<iotune><total_iops_sec>9</total_iops_sec></iotune>'))
    # QMP by kvmd: it opens
    qmp(k, 'f', 'blockdev-change-medium', id='sata-disk0', filename=one, format='raw')
    assert blocks(k, 'f')['drive-sata-disk0']['inserted']['file'] == one
    qmp(k, 'f', 'eject', device='drive-sata-disk0', force=True)
    b = blocks(k, 'f')['drive-sata-disk0']
    assert b['tray_open'] is True and 'inserted' not in b and "tray='open'" in k.ctl('dumpxml', 'f').stdout, b
    n = len(trays(k))
    qmp(k, 'f', 'eject', id='sata-disk0')
    qmp(k, 'f', 'eject', id='/machine/peripheral/virtio-disk1/virtio-backend')
    assert trays(k)[n:] == [True]
    qmp(k, 'f', 'blockdev-change-medium', device='vdb', filename=two)
    assert trays(k)[n:] == [True, False] and blocks(k, 'f')['drive-virtio-disk1']['inserted']['file'] == two
    assert 'not found' in qmp(k, 'f', 'blockdev-change-medium', check=False, id='nix', filename=two).stderr
    assert 'exactly one' in qmp(k, 'f', 'blockdev-change-medium', check=False, filename=two).stderr
    # how a medium is opened; its guest only reads in any case
    def mode(drive, path, mode=None):
        qmp(k, 'f', 'blockdev-change-medium', device=drive, filename=path, **({'read-only-mode': mode} if mode else {}))
        return blocks(k, 'f')['drive-virtio-disk1']['inserted']['ro']

    k.ctl('change-media', 'f', 'sda', '--eject', check=False)
    assert mode('vdb', one, 'read-write') is False and mode('vdb', two) is False and mode('vdb', one, 'retain') is False
    k.ctl('change-media', 'f', 'sda', one)                              # no guest writes to it
    k.ctl('change-media', 'f', 'sda', '--eject')
    k.kill()
    k.start()
    k.until(lambda: k.state('f') == 'running', 20, 'the machine is found again')
    assert mode('vdb', one, 'read-only') is True and mode('vdb', one) is True and mode('vdb', one, 'read-write') is False
    qmp(k, 'f', 'eject', device='vdb')
    assert mode('vdb', one) is False                                    # the drive's, until somebody says otherwise
    k.ctl('change-media', 'f', 'vdb', one)
    assert blocks(k, 'f')['drive-virtio-disk1']['inserted']['ro'] is True
    # a machine that stands still, and a kvmd that is killed in the middle of it all
    k.ctl('suspend', 'f')
    k.ctl('change-media', 'f', 'vdb', one)
    k.ctl('resume', 'f')
    assert one in open_files(k, 'f')
    for i in range(6):
        t = threading.Thread(target=lambda: k.ctl('change-media', 'f', 'vdb', two if i % 2 else one, check=False))
        t.start()
        if i % 3:
            k.until(lambda: len(trays(k)) > n + 2 * i, 5, 'the change begins') if i == 1 else None
        k.kill()
        t.join()
        k.start()
        k.until(lambda: k.state('f') == 'running', 20, 'the machine is found again')
        inside = blocks(k, 'f')['drive-virtio-disk1']['inserted']['file']
        assert inside in (one, two) and inside in k.ctl('dumpxml', 'f').stdout and open_files(k, 'f').count(inside) == 1
    # an empty drive comes and goes as other disks; a start with what is missing
    k.ctl('destroy', 'f')
    k.define(xml('f', drive(f'{k.root}/gone.iso', policy='optional')))
    k.ctl('start', 'f')
    assert 'inserted' not in blocks(k, 'f')['drive-sata-disk0']
    k.ctl('change-media', 'f', 'sda', one)
    assert 'inserted' in blocks(k, 'f')['drive-sata-disk0']


def linux(k):
    """A Linux reads one medium, finds the drive empty, reads another one, and an ISO; while it reads one is changed."""
    if not shutil.which('xorriso') or not shutil.which('qemu-img'):
        skip('xorriso or qemu-img is not installed')
    one, two = medium(k, 'one.iso', MIB, b'1'), medium(k, 'two.iso', 3 * MIB, b'2')
    os.mkdir(f'{k.root}/files')
    with open(f'{k.root}/files/word', 'w') as f:
        f.write('kvmd-in-an-iso\n')
    iso, qcow = f'{k.root}/real.iso', f'{k.root}/two.qcow2'
    subprocess.run(['xorriso', '-as', 'mkisofs', '-quiet', '-o', iso, f'{k.root}/files'], check=True, capture_output=True)
    subprocess.run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', two, qcow], check=True)
    k.define(xml('a', drive(one, bus="dev='sda' bus='sata'"), True))
    k.ctl('start', 'a')
    k.until(lambda: PROMPT in k.console('a'), 400, 'a shell on the console')

    def look():
        return guest_says(k, 'a', 'cat /sys/block/vda/size; md5sum </dev/vda | cut -c1-32').replace('\n', ' ').split()

    def size(n):
        k.until(lambda: guest_says(k, 'a', 'cat /sys/block/vda/size').strip() == str(n), 60, f'the guest sees {n} sectors')

    def agrees(path):
        b = blocks(k, 'a')['drive-sata-disk0']
        assert b.get('inserted', {}).get('file') == path and b['removable'], b

    assert guest_says(k, 'a', 'cat /sys/block/vda/ro').strip() == '1'
    text = guest_says(k, 'a', 'md5sum </dev/vda')
    assert sum_of(one) in text, text
    agrees(one)
    k.ctl('change-media', 'a', 'sda', '--eject')
    size(0)
    agrees(None)
    assert hashlib.md5(b'').hexdigest() in guest_says(k, 'a', 'md5sum </dev/vda')
    for path, fmt, virtual in (two, 'raw', 3 * MIB), (qcow, 'qcow2', 3 * MIB), (one, 'raw', MIB), (iso, 'raw', os.path.getsize(iso)):
        k.ctl('change-media', 'a', 'sda', path, '--format', fmt)
        size(virtual // 512)
        agrees(path)
        want = sum_of(two if fmt == 'qcow2' else path)
        text = guest_says(k, 'a', 'md5sum </dev/vda')
        assert want in text, (path, text)
    assert 'kvmd-in-an-iso' in guest_says(k, 'a', 'grep -a -o kvmd-in-an-iso /dev/vda')
    # while it reads
    k.ctl('console', 'a', stdin='for i in 1 2 3; do dd if=/dev/vda of=/dev/null bs=65536 iflag=direct 2>/dev/null; done; echo READ-"ALL"\n')
    for i in range(12):
        k.ctl('change-media', 'a', 'sda', '--format', 'raw', (one, two)[i % 2])
    k.until(lambda: 'READ-ALL' in k.console('a'), 120, 'the guest has read')
    size(3 * MIB // 512)
    assert sum_of(two) in guest_says(k, 'a', 'md5sum </dev/vda')


cases = {'flat': flat, 'flat_more': flat_more, 'linux': linux}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
