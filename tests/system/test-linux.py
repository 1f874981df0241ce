#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux guests under kvmd: test-linux.py BUILD CASE...; see `cases` at the end."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import PROMPT, Failed, linux_domain, need_kvm, need_linux, run, shell  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
need_kvm()
need_linux(guest)


def xml(name, vcpus, slow, more='', **kw):
    return linux_domain(guest, name, "<panic model='isa'/>", vcpus=vcpus, slow=slow, more=more, **kw)


def tests(k, names, vcpus, slow=4, seconds=400, **kw):
    """Boots, runs the guest's own tests, and looks at what they print and how the guest ends."""
    k.define(xml('t', vcpus, slow, f'kvmd.run={names}', **kw))
    k.ctl('start', 't')
    k.until(lambda: 'KVMD-GUEST-DONE' in k.console('t') or k.state('t') != 'running', seconds, f'{names} on {vcpus} vCPU(s)')
    k.until(lambda: k.state('t') == 'shut off', 120, 'the guest powers itself off')
    out = k.console('t')
    want = len(names.split(','))
    if not re.search(rf'KVMD-GUEST-DONE {want} passed, 0 failed', out) or len(re.findall(r'^TEST \S+ PASS', out, re.M)) != want:
        raise Failed('the guest said:\n' + out)
    for bad in ('BUG:', 'WARNING:', 'rcu: INFO', 'segfault', 'Call Trace', 'unchecked MSR'):
        assert bad not in out, f'"{bad}" on the console:\n{out}'
    end = [e for e in k.events() if e.get('event') == 'STOPPED']
    assert end and end[-1]['data']['reason'] == 'shutdown', f'ended as {end}'


def boot(k):
    """Also: the real-time clock begins as <clock> has it."""
    day = 86400
    t = shell(k, xml('l', 1, 1, cpu=f"<clock offset='variable' adjustment='-{day}' basis='utc'/>"))
    k.ctl('console', 'l', stdin='echo R"TC" $(cat /sys/class/rtc/rtc0/since_epoch) R"EAD"\n', timeout=120)
    k.until(lambda: re.search(r'RTC \d+ READ', k.console('l')), 60, 'the guest reads its clock')
    begun = int(re.search(r'RTC (\d+)', k.console('l'))[1])
    assert abs(time.time() - day - begun) < 60, begun
    return f'shell after {t:.1f} s'


def avx(k):
    tests(k, 'avx', 2)


def fork(k):
    tests(k, 'fork', 2)


def smp2(k):
    tests(k, 'smp', 2)


def smp4(k):
    tests(k, 'smp,avx,fork', 4, slow=8, seconds=900)


def topology(k):
    shell(k, xml('l', 4, 8, cpu="<cpu mode='host-passthrough'><topology sockets='1' dies='1' cores='2' threads='2'/></cpu>"))
    k.ctl('console', 'l', stdin='grep -c ^processor /proc/cpuinfo; grep -m1 "cpu cores" /proc/cpuinfo; grep -m1 siblings /proc/cpuinfo; poweroff\n', timeout=120)
    k.until(lambda: k.state('l') == 'shut off', 120, 'power off')
    out = k.console('l')
    assert re.search(r'cpu cores\s*: 2', out) and re.search(r'siblings\s*: 4', out), out


def button(k):
    """kvmctl shutdown: the ACPI power button, honoured by the guest; kvmctl reboot: the same and up again."""
    shell(k, xml('l', 1, 4))
    k.ctl('reboot', 'l')
    k.until(lambda: k.console('l').count(PROMPT) >= 2, 400, 'the shell after a reboot')
    assert k.state('l') == 'running'
    k.ctl('shutdown', 'l')
    k.until(lambda: k.state('l') == 'shut off', 200, 'the guest shuts down')
    names = [e['event'] for e in k.events()]
    assert 'POWERDOWN' in names and 'RESET' in names and names[-1] == 'STOPPED', names


def survive(k):
    """kvmd dies by kill -9 while a guest boots (here a bzImage, which unpacks itself) and again while it runs; the guest never
    notices."""
    k.define(xml('l', 1, 8, kernel='bzImage'))
    k.ctl('start', 'l')
    pid = k.json('dominfo', 'l')['pid']
    k.until(lambda: 'KVMD-GUEST-UP' in k.console('l') or len(k.console('l')) > 10, 200, 'first output')
    k.kill()
    k.start()
    k.until(lambda: k.state('l') == 'running', 10, 'adoption')
    k.until(lambda: PROMPT in k.console('l'), 240, 'a shell on the console')
    k.kill()
    k.start()
    k.until(lambda: k.state('l') == 'running', 10, 'adoption')
    assert k.json('dominfo', 'l')['pid'] == pid
    k.ctl('suspend', 'l')
    assert k.state('l') == 'paused'
    k.ctl('resume', 'l')
    # while kvmd is away the guest ends; the next kvmd finds the exit record
    k.ctl('shutdown', 'l')
    k.kill()
    k.until(lambda: not os.path.exists(f'/proc/{pid}') or open(f'/proc/{pid}/stat').read().split()[2] == 'Z', 200, 'the guest ends without kvmd')
    k.start()
    k.until(lambda: k.state('l') == 'shut off', 10, 'its end is known')
    end = [e for e in k.events() if e['event'] == 'STOPPED'][-1]
    assert end['data']['reason'] == 'shutdown', end


cases = {f.__name__: f for f in (boot, avx, fork, smp2, smp4, topology, button, survive)}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
