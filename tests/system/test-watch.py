#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Watching machines: statistics without asking them, also of one that hangs and by a kvmd that has begun anew."""
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import Failed, need_kvm, run  # noqa: E402

build = os.path.abspath(sys.argv[1])
need_kvm()


def xml(k, name, disk=True):
    image = f'{k.root}/{name}.img'
    with open(image, 'wb') as f:
        f.truncate(1 << 20)
    return f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-hello</kernel><cmdline>timeout=0</cmdline></os>
  <features><acpi/><apic/></features>
  <devices><serial type='pty'><target port='0'/></serial><memballoon model='virtio'/>
    <disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/><target dev='vda' bus='virtio'/></disk></devices>
</domain>
'''


def start(k, name):
    k.define(xml(k, name))
    k.ctl('start', name)
    k.until(lambda: '> ' in k.console(name), 20, 'the guest greets')
    return k.json('dominfo', name)['pid']


def stats(k, name, *options):
    return k.json('domstats', name, *options)['domains'][0]['stats']


def counted(k):
    start(k, 'one')
    s = stats(k, 'one')
    assert s['state.state'] == 1 and s['state.reason'] == 1, s
    assert s['vcpu.current'] == 2 and s['vcpu.maximum'] == 2 and s['vcpu.0.state'] == 1, s
    assert s['vcpu.0.exits.sum'] > 0 and s['vcpu.0.io_exits.sum'] > 0 and s['vcpu.0.time'] > 0 and 'vcpu.0.delay' in s, s
    assert s['balloon.current'] == s['balloon.maximum'] == 32 << 10 and s['balloon.rss'] > 0, s
    assert s['block.count'] == 1 and s['block.0.name'] == 'vda' and s['block.0.capacity'] == 1 << 20, s
    assert s['block.0.path'].endswith('one.img') and s['block.0.rd.reqs'] == 0 and s['net.count'] == 0, s
    assert 'block.0.rd.latency' not in s
    assert len(stats(k, 'one', '--block', '--latency')['block.0.rd.latency']) == 32
    assert set(stats(k, 'one', '--state')) == {'state.state', 'state.reason'}
    # the guest says something: its exits are there at once
    k.ctl('console', 'one', stdin='cpus\n')
    assert stats(k, 'one')['vcpu.0.io_exits.sum'] > s['vcpu.0.io_exits.sum']
    text = k.ctl('domstats').stdout
    assert text.startswith("Domain: 'one'\n  state.state=1\n") and '\n  block.0.name=vda\n' in text, text
    k.ctl('suspend', 'one')
    assert stats(k, 'one', '--state') == {'state.state': 3, 'state.reason': 1}
    assert not k.json('domstats', '--list-running')['domains'] and len(k.json('domstats', '--list-paused')['domains']) == 1
    k.ctl('destroy', 'one')
    s = stats(k, 'one')
    assert s == {'state.state': 5, 'state.reason': 2}, s
    p = k.ctl('domstats', 'nobody', check=False)
    assert p.returncode == 3 and 'nobody' in p.stderr, p


def stopped(k):
    """A machine whose process does not run answers as fast as any; and to a kvmd that never spoke with it."""
    pid = start(k, 'one')
    before = stats(k, 'one')
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        s = stats(k, 'one')
        took = time.monotonic() - begun
        assert took < 1 and s['vcpu.0.exits.sum'] >= before['vcpu.0.exits.sum'], (took, s)
        k.kill()
        k.start()
        s = stats(k, 'one')
        assert s['vcpu.0.exits.sum'] >= before['vcpu.0.exits.sum'] and s['block.0.capacity'] == 1 << 20 and s['vcpu.0.time'] > 0, s
    finally:
        os.kill(pid, signal.SIGCONT)
    k.until(lambda: k.state('one') == 'running', 20, 'it is adopted')
    assert stats(k, 'one')['vcpu.current'] == 2


def hostile(k):
    """What a machine's process may write is not believed; what it wrote does not hurt others."""
    start(k, 'one')
    start(k, 'two')
    uuid = k.ctl('domuuid', 'one').stdout.strip()
    path = f'{k.root}/run/kvmd/vm/{uuid}/stats'
    with open(path, 'rb') as f:
        whole = f.read()
    for text in (b'', b'kvmdstat', whole[:60], whole[:-1], b'x' * len(whole), whole[:8] + b'\xff' * (len(whole) - 8),
                 whole[:96] + b'\xff' * (len(whole) - 96)):
        # in a new file: the old one is mapped
        with open(path + '.new', 'wb') as f:
            f.write(text)
        os.rename(path + '.new', path)
        both = {d['name']: d['stats'] for d in k.json('domstats')['domains']}
        assert both['one']['state.state'] == 1 and both['two']['vcpu.0.exits.sum'] > 0, both
    os.unlink(path)
    os.mkfifo(path)
    assert stats(k, 'one')['state.state'] == 1
    os.unlink(path)
    pid = k.json('dominfo', 'two')['pid']
    links = [os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]
    assert not [x for x in links if x.endswith('/stats')], 'its process could still change the size of its page'


cases = [('counted', counted), ('a-stopped-machine', stopped), ('a-page-that-lies', hostile)]
run([c for c in cases if c[0] in sys.argv[2:] or not sys.argv[2:]], build)
