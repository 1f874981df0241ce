#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that drives disks' queues itself (flat-blk): each block written once in mixed order, then read back by the guest
and by the host."""
import json
import os
import re
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import judge_image, need_kvm, run  # noqa: E402

build = os.path.abspath(sys.argv[1])
need_kvm()
SIZE = 8 << 20


def xml(image, fmt, cmdline, driver='', extra='', test=''):
    return f'''<domain type='kvm'>
  <name>disk</name>
  <metadata>{test}</metadata>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>{extra}
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-blk</kernel><cmdline>{cmdline} hz=2000000000</cmdline></os>
  <features><acpi/><apic/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='{fmt}' cache='none' {driver}/><source file='{image}'/><target dev='vda' bus='virtio'/></disk>
    <serial type='pty'><target port='0'/></serial>
  </devices>
</domain>
'''


def boot(k, *args, meanwhile=None, **kw):
    """One run of the guest to its end; what it told."""
    before = len(k.console('disk'))
    k.define(xml(*args, **kw))
    k.ctl('start', 'disk')
    if meanwhile:
        meanwhile()
    k.until(lambda: 'done\n' in k.console('disk')[before:].replace('\r', '') or 'failed' in k.console('disk')[before:], 60, 'the guest is done')
    k.until(lambda: k.state('disk') == 'shut off', 20, 'the guest ends by itself')
    k.ctl('undefine', 'disk')
    text = k.console('disk')[before:]
    m = re.search(r'operations (\d+) .*errors (\d+) wrong (\d+)', text)
    assert m and m[2] == '0' and m[3] == '0', text
    return int(m[1])


def image(k, name, fmt, size=SIZE):
    path = f'{k.root}/{name}'
    subprocess.run(['qemu-img', 'create', '-q', '-f', fmt, path, str(size)], check=True)
    os.chmod(path, 0o666)
    return path


def whole(k, fmt, bs=4096, more='', **kw):
    path = image(k, 'disk.img', fmt)
    blocks = SIZE // bs
    assert boot(k, path, fmt, f'op=scatter bs={bs} qd=32 ops={blocks} ms=60000 {more}', **kw) == blocks
    assert boot(k, path, fmt, f'op=randread bs={bs} qd=16 ops=500 check=1 {more}', **kw) == 500
    judge_image(path, fmt, path + '.raw' if fmt != 'raw' else None)
    path += '.raw' if fmt != 'raw' else ''
    with open(path, 'rb') as f:
        data = f.read()
    for i in range(blocks):
        assert struct.unpack_from('<Q', data, i * bs)[0] == i, f'block {i}'


def raw(k):
    whole(k, 'raw')


def qcow2(k):
    whole(k, 'qcow2')


def queues(k):
    whole(k, 'raw', driver="queues='4'", bs=512 * 16, more='queues=4')


def iothreads(k):
    """Two disks' worth of threads: each has its ring, and the disk is served by the one it names."""
    names = []

    def look():
        pid = k.json('dominfo', 'disk')['pid']
        for t in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{t}/comm') as f:
                names.append(f.read().strip())
        rings = [fd for fd in os.listdir(f'/proc/{pid}/fd') if os.readlink(f'/proc/{pid}/fd/{fd}').startswith('anon_inode:[io_uring]')]
        assert len(rings) == 3, rings
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(k.json('dominfo', 'disk')['qmp'])
            with s.makefile('rw') as f:
                f.readline()
                for command in ('qmp_capabilities', 'query-iothreads'):
                    f.write(json.dumps({'execute': command}) + '\n')
                    f.flush()
                    told = json.loads(f.readline())['return']
        threads = [(t['id'], os.path.exists(f'/proc/{pid}/task/{t["thread-id"]}')) for t in told]
        assert [(t['poll-max-ns'], t['poll-grow'], t['poll-shrink']) for t in told if t['id'] == 'iothread7'] == [(50000, 3, 2)], told
        assert sorted(threads) == [('iothread1', True), ('iothread7', True)], told
    path = image(k, 'disk.img', 'raw')
    extra = "<iothreads>2</iothreads><iothreadids><iothread id='7'><poll max='50000' grow='3' shrink='2'/></iothread></iothreadids>"
    blocks = SIZE // 4096
    assert boot(k, path, 'raw', f'op=scatter qd=32 ops={blocks} ms=60000', driver="iothread='7'", extra=extra, meanwhile=look) == blocks
    assert {'io0', 'io1', 'io7'} <= set(names), names
    assert boot(k, path, 'raw', 'op=randread qd=16 ops=500 check=1', extra=extra) == 500


def null(k):
    path = image(k, 'disk.img', 'raw')
    test = "<kvmd:test xmlns:kvmd='urn:kvmd:domain:1'><kvmd:null-disks/></kvmd:test>"
    assert boot(k, path, 'raw', 'op=randwrite qd=8 ops=1000 ms=60000', test=test) == 1000
    with open(path, 'rb') as f:
        assert not f.read().strip(b'\0'), 'nothing was written'


run([(f.__name__, f) for f in (raw, qcow2, queues, iothreads, null)], build)
