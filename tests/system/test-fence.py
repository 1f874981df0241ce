#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The fence of a running machine's process, seen from outside; and what a violation does to the machine."""
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import need_kvm, run  # noqa: E402

build = os.path.abspath(sys.argv[1])
need_kvm()
HELLO = f'''<domain type='kvm'>
  <name>hello</name>
  <memory unit='MiB'>32</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-hello</kernel><cmdline>timeout=0</cmdline></os>
  <features><acpi/><apic/></features>
  <devices><serial type='pty'><target port='0'/></serial></devices>
</domain>
'''


def start(k):
    k.define(HELLO)
    k.ctl('start', 'hello')
    k.until(lambda: '> ' in k.console('hello'), 20, 'the guest greets')
    return k.json('dominfo', 'hello')['pid']


def status(path):
    with open(f'{path}/status') as f:
        return dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)


def seen(k):
    pid = start(k)
    root = os.geteuid() == 0
    threads = os.listdir(f'/proc/{pid}/task')
    assert len(threads) >= 4, f'main, two vCPUs, a loop: {threads}'
    filters = {}
    for t in threads:
        s = status(f'/proc/{pid}/task/{t}')
        assert s['Seccomp'] == '2' and s['NoNewPrivs'] == '1', (t, s)
        for cap in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb'):
            assert int(s[cap], 16) == 0, (t, cap, s[cap])
        if root:
            assert int(s['CapBnd'], 16) == 0, s['CapBnd']
            assert set(s['Uid'].split()) == set(s['Gid'].split()) and s['Uid'].split()[0] not in ('0', str(os.getuid())), s['Uid']
        filters[s['Name']] = int(s['Seccomp_filters'])
    narrowed = [n for n, c in filters.items() if c >= 2]
    assert any(n.startswith('vcpu') for n in narrowed), f'no vCPU thread has a filter of its own: {filters}'
    for ns in ('mnt', 'net', 'ipc', 'uts'):
        assert os.readlink(f'/proc/{pid}/ns/{ns}') != os.readlink(f'/proc/self/ns/{ns}'), ns
    if root:
        assert os.listdir(f'/proc/{pid}/root') == [], os.listdir(f'/proc/{pid}/root')
    allowed = (r'/dev/null$', r'/dev/kvm$', r'/dev/ptmx$', r'/dev/pts/ptmx$', r'socket:', r'anon_inode:', r'pipe:', r'/memfd:', r'.*\(deleted\)$',
               re.escape(k.root) + '/(run|var)/', re.escape(build) + '/tests/guest/')
    for fd in os.listdir(f'/proc/{pid}/fd'):
        to = os.readlink(f'/proc/{pid}/fd/{fd}')
        assert any(re.match(a, to) for a in allowed), f'descriptor {fd} is {to}'


def force_socket(pid):
    """Has the process call socket(AF_UNIX, SOCK_STREAM, 0) as if it had been taken over; what the call returned."""
    p = subprocess.run([f'{build}/tests/system/force-syscall', str(pid), '41', '1', '1', '0'], capture_output=True, text=True, timeout=60)
    return p.stdout.strip() or p.stderr


def violation(k):
    if os.geteuid() != 0:
        return 'SKIP only root may trace a process of another user'
    pid = start(k)
    assert force_socket(pid) == '-1', 'EPERM'
    assert force_socket(pid) == '-1', 'EPERM'
    k.until(lambda: any(e['event'] == 'KVMD_FENCE' and e['data']['syscall'] == 'socket' for e in k.events()), 10, 'the event')
    assert k.state('hello') == 'running'
    k.ctl('console', 'hello', stdin='cpus\nquit\n')
    k.until(lambda: k.state('hello') == 'shut off', 20, 'the guest goes on and ends by itself')
    with open(f'{k.root}/var/log/kvmd/hello.log') as f:
        assert 'socket refused' in f.read()


def killed(k):
    if os.geteuid() != 0:
        return 'SKIP only root may trace a process of another user'
    os.makedirs(f'{k.root}/etc/kvmd', exist_ok=True)
    with open(f'{k.root}/etc/kvmd/kvmd.conf', 'w') as f:
        f.write('fence = kill\n')
    k.kill()
    k.start()
    pid = start(k)
    assert force_socket(pid) == f'killed by signal {signal.SIGSYS.value}'
    k.until(lambda: k.state('hello') in ('shut off', 'crashed'), 20, 'the machine is ended')
    end = [e for e in k.events() if e['event'] in ('STOPPED', 'CRASHED')]
    assert end, 'no event tells of it'


cases = [('seen-from-outside', seen), ('a-violation-fails-and-is-told', violation), ('fence=kill', killed)]
run(cases, build)
