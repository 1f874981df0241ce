# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that end and begin again and again. Usage: test-lives.py BUILD"""
import os
import sys

from kvmd import need_kvm, run

build = os.path.abspath(sys.argv[1])
need_kvm()


def xml(name, command, memory='16'):
    return f'''<domain type='kvm'><name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
      <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-reboot</kernel><cmdline>{command}</cmdline></os>
      <devices><serial type='pty'/></devices></domain>'''


def waits(k):
    """A guest that only resets itself waits between its lives, longer each time; a reset by hand is made at once."""
    k.define(xml('loop', 'times=15 way=triple'))
    k.ctl('start', 'loop')
    k.until(lambda: k.state('loop') == 'shut off', 60, 'it has reset itself 15 times')
    at = [e['timestamp']['seconds'] + e['timestamp']['microseconds'] / 1e6 for e in k.events() if e['event'] == 'RESET']
    assert len(at) == 15, at
    assert at[14] - at[10] >= 0.5, at       # 39, 78, 156, 312 ms
    k.define(xml('loop', 'times=1000000 way=triple'))
    k.ctl('start', 'loop')
    k.until(lambda: len([e for e in k.events() if e['event'] == 'RESET']) >= 15 + 15, 60, 'it waits for long')
    k.ctl('reset', 'loop', timeout=2)
    k.ctl('destroy', 'loop', timeout=10)


def memory(k):
    """What the machines may use together is more than the host has: the start says so."""
    with open('/proc/meminfo') as f:
        total = int(f.readline().split()[1]) // 1024
    for i in range(2):
        k.define(xml(f'm{i}', 'times=1000000', memory=str(total * 6 // 10)))
    first, second = (k.ctl('start', f'm{i}') for i in range(2))
    assert 'more than' not in first.stdout + first.stderr, first
    assert 'more than' in second.stdout + second.stderr, second


run([('waits', waits), ('memory', memory)], build)
