#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's agent: Debian's qemu-guest-agent in the small Linux guest, from an image that is mounted there. test-agent.py
BUILD."""
import base64
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import PROMPT, guest_says, linux_domain, need_kvm, need_linux, refused, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
image = f'{build}/guest-agent/agent.img'
CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
need_kvm()
need_linux(guest)
if not os.path.exists(image):
    skip(f'no guest agent: tests/system/guest-agent.sh {build}/guest-agent fetches it')


def xml(name, maximum, current):
    return linux_domain(guest, name, f"<disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/><target dev='vda' bus='virtio'/><readonly/></disk>"
                        + CHANNEL, memory=160, vcpus=maximum, current=current)


def front_ends(k):
    return [c['frontend-open'] for c in k.json('qmp', 'a', 'query-chardev') if c['label'].startswith('channel')]


def agent_state(k):
    m = re.search(r"<target type='virtio' name='org.qemu.guest_agent.0' state='(\w+)'/>", k.ctl('dumpxml', 'a').stdout)
    return m and m[1]


# a guest's agent that says yes and switches nothing
LIAR = br"""exec 3<>"$1"
while read -r line <&3; do
case $line in
*guest-sync*) id=${line##*:}; printf '\377{"return": %s}\n' "${id%%\}*}" >&3 ;;
*guest-get-vcpus*)
list=
for d in /sys/devices/system/cpu/cpu[0-9]*; do
on=1
[ ! -e $d/online ] || read -r on <$d/online
[ $on = 1 ] && on=true || on=false
list="$list${list:+, }{\"logical-id\": ${d##*cpu}, \"online\": $on, \"can-offline\": true}"
done
printf '{"return": [%s]}\n' "$list" >&3 ;;
*guest-set-vcpus*) printf '{"return": 1}\n' >&3 ;;
*) printf '{"return": {}}\n' >&3 ;;
esac
done
"""


def start_agent(k, script='/mnt/ga/run'):
    """The shell's background job; returns when the agent has its port open."""
    guest_says(k, 'a', 'mkdir -p /mnt/ga; mount -t ext4 -o ro,noload /dev/vda /mnt/ga; '
               'for p in /sys/class/virtio-ports/*; do read n <$p/name && [ $n = org.qemu.guest_agent.0 ] && p=/dev/${p##*/} && break; done; '
               f'sh {script} $p >/tmp/ga.log 2>&1 & echo $! >/tmp/ga.pid; echo started')
    k.until(lambda: agent_state(k) == 'connected', 120, 'the agent is connected')


def boot(k, maximum, current):
    k.define(xml('a', maximum, current))
    k.ctl('start', 'a')
    assert agent_state(k) == 'disconnected'
    refused(k, "is not connected; is qemu-guest-agent running in the guest", 'qemu-agent-command', 'a', '{"execute":"guest-ping"}')
    k.until(lambda: PROMPT in k.console('a'), 300, 'a shell on the console')


def nproc(k):
    return int(guest_says(k, 'a', 'nproc'))


def present(k):
    return guest_says(k, 'a', 'cat /sys/devices/system/cpu/present')


def ask(k, execute, **arguments):
    text = json.dumps({'execute': execute, 'arguments': arguments} if arguments else {'execute': execute})
    return json.loads(k.ctl('qemu-agent-command', 'a', text, '--timeout', '60', timeout=120).stdout)['return']


def agent(k):
    """One guest for all of it: a boot takes most of the time."""
    boot(k, 4, 1)
    start_agent(k)
    told = vcpus(k)
    survive(k)
    return told


def vcpus(k):
    """Plugged and online in one go; switched off and on in the guest; an agent that hangs, and one that is not there."""
    assert ask(k, 'guest-ping') == {}
    assert ask(k, 'guest-info')['version']
    begun = time.monotonic()
    said = k.ctl('setvcpus', 'a', '3', '--live', '--timeout', '60', timeout=300).stdout
    took = time.monotonic() - begun
    assert '3 are online in the guest' in said, said
    assert nproc(k) == 3 and present(k) == '0-2'
    assert k.json('guestvcpus', 'a', '--timeout', '60', timeout=120)['online'] == '0-2'
    # off in the guest, but there
    said = k.ctl('setvcpus', 'a', '2', '--guest', '--timeout', '60', timeout=120).stdout
    assert said == '2 are online in the guest\n', said
    assert nproc(k) == 2 and present(k) == '0-2'
    assert k.ctl('vcpucount', 'a', '--guest').stdout == '2\n' and k.json('vcpucount', 'a')['current_live'] == 3
    assert [k.json('guestvcpus', 'a', '--timeout', '60', timeout=120)[x] for x in ('vcpus', 'online', 'online-count')] == ['0-2', '0-1', 2]
    refused(k, 'more than the 3 that the guest has', 'setvcpus', 'a', '4', '--guest', '--timeout', '60', timeout=120)
    # what was switched off stays so when another comes
    said = k.ctl('setvcpus', 'a', '4', '--live', '--timeout', '60', timeout=300).stdout
    assert '3 are online in the guest' in said and nproc(k) == 3, said
    assert k.ctl('guestvcpus', 'a', '2', '--enable', '--timeout', '60', timeout=120).returncode == 0 and nproc(k) == 4
    k.ctl('guestvcpus', 'a', '1,3', '--disable', '--timeout', '60', timeout=120)
    assert nproc(k) == 2 and guest_says(k, 'a', 'cat /sys/devices/system/cpu/online') == '0,2'
    refused(k, 'has 1 of the 2 CPUs', 'guestvcpus', 'a', '1,7', '--enable', '--timeout', '60', timeout=120)
    done = [e['data'] for e in k.events() if e['event'] == 'COMMAND_DONE' and 'vcpus' in e['data']]
    assert [(d['ok'], d['vcpus'], d['online']) for d in done] == [(True, 3, 3), (True, 4, 3)], done
    # it hangs: an error by the deadline, and plugging goes on without it
    guest_says(k, 'a', 'kill -STOP $(cat /tmp/ga.pid); echo stopped')
    begun = time.monotonic()
    p = refused(k, 'does not answer .*is qemu-guest-agent running in the guest', 'setvcpus', 'a', '3', '--guest', '--timeout', '4')
    late = time.monotonic() - begun
    assert p.returncode == 9 and 3.5 < late < 8, (p.returncode, late)
    k.ctl('setvcpus', 'a', '3', '--live', '--timeout', '60', timeout=300)
    said = k.ctl('setvcpus', 'a', '4', '--live', '--timeout', '60', timeout=300).stdout
    assert 'online' not in said and present(k) == '0-3', said
    # it goes on where it was: what nobody waits for any more does no harm
    guest_says(k, 'a', 'kill -CONT $(cat /tmp/ga.pid); echo continued')
    assert ask(k, 'guest-ping') == {}
    refused(k, 'refused guest-nonsense: ', 'qemu-agent-command', 'a', '{"execute":"guest-nonsense"}', '--timeout', '60', timeout=120)
    refused(k, 'not a JSON object', 'qemu-agent-command', 'a', 'guest-ping')
    assert True in front_ends(k)
    # it ends
    guest_says(k, 'a', 'kill $(cat /tmp/ga.pid); echo ended')
    k.until(lambda: agent_state(k) == 'disconnected', 60, 'the agent is gone')
    p = refused(k, 'is not connected', 'vcpucount', 'a', '--guest')
    assert p.returncode == 4, p
    k.ctl('setvcpus', 'a', '3', '--live', '--timeout', '60', timeout=300)
    assert k.json('vcpucount', 'a')['current_live'] == 3
    states = [e['data']['state'] for e in k.events() if e['event'] == 'KVMD_AGENT']
    assert states == ['connected', 'disconnected'], states
    assert [e['data']['open'] for e in k.events() if e['event'] == 'VSERPORT_CHANGE'] == [True, False]
    assert True not in front_ends(k)
    # what comes and is not switched on goes again
    guest_says(k, 'a', f'echo {base64.b64encode(LIAR).decode()} | base64 -d >/tmp/liar; echo written')
    start_agent(k, '/tmp/liar')
    assert ask(k, 'guest-ping') == {}
    refused(k, '4 vCPUs were asked for, there are 3: .* says that it switches its CPUs, but 1 of 4 stay as they were; it has given them back',
            'setvcpus', 'a', '4', '--live', '--timeout', '60', timeout=300)
    assert k.json('vcpucount', 'a')['current_live'] == 3 and present(k) == '0-2'
    assert '<vcpu id=\'3\' enabled=\'no\'' in k.ctl('dumpxml', 'a').stdout
    guest_says(k, 'a', 'kill $(cat /tmp/ga.pid); echo ended')
    k.until(lambda: agent_state(k) == 'disconnected', 60, 'the liar is gone')
    # off by the agent, which calls a program that a guest of busybox lacks: this one says so, and that is all
    start_agent(k)
    guest_says(k, 'a', r"mkdir -p /sbin; printf '#!/bin/sh\necho AGENT-SHUTDOWN $* >/dev/console\n' >/sbin/shutdown; chmod 755 /sbin/shutdown; echo made")
    said = k.ctl('shutdown', 'a', '--mode', 'agent', '--timeout', '60', timeout=120).stdout
    assert "the guest's agent is told to shut down" in said, said
    k.until(lambda: 'AGENT-SHUTDOWN -h -P +0' in k.console('a'), 60, 'the agent does it as qemu-guest-agent does')
    assert not [e for e in k.events() if e['event'] in ('KVMD_FENCE', 'POWERDOWN')]
    return f'1 to 3 vCPUs, online: {took:.1f} s'


def survive(k):
    """kvmd dies: the machine keeps its agent, the next kvmd finds it, and a change under way ends with its result."""
    since = k.events()[-1]['seq']

    def told(event):
        return [e['data'] for e in k.events() if e['seq'] > since and e['event'] == event and 'vcpus' in e['data']]

    guest_says(k, 'a', 'kill -STOP $(cat /tmp/ga.pid); echo stopped')       # so that the change is not over before kvmd is
    p = subprocess.Popen([f'{build}/tools/kvmctl', 'setvcpus', 'a', '4', '--live', '--timeout', '60'], env=k.env, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    k.until(lambda: told('COMMAND_BEGUN'), 20, 'the change begins')
    k.kill()
    assert p.wait() == 10
    k.start()
    k.until(lambda: k.state('a') == 'running', 20, 'adoption')
    assert agent_state(k) == 'connected'
    guest_says(k, 'a', 'kill -CONT $(cat /tmp/ga.pid); echo continued')
    k.until(lambda: told('COMMAND_DONE'), 120, 'the result')
    done = told('COMMAND_DONE')[0]
    assert done['ok'] and done['vcpus'] == 4, done
    assert ask(k, 'guest-ping') == {}
    k.ctl('setvcpus', 'a', '2', '--guest', '--timeout', '60', timeout=120)
    assert nproc(k) == 2
    # the channel can be taken away
    k.ctl('detach-device', 'a', '-', '--live', stdin=CHANNEL, timeout=120)
    k.until(lambda: agent_state(k) is None, 20, 'the channel is gone')
    refused(k, 'no channel to a guest agent', 'vcpucount', 'a', '--guest')
    # and comes back, also for an agent
    guest_says(k, 'a', 'kill $(cat /tmp/ga.pid); echo ended')
    k.ctl('attach-device', 'a', '-', '--live', stdin=CHANNEL, timeout=120)
    assert agent_state(k) == 'disconnected'
    start_agent(k)
    assert ask(k, 'guest-ping') == {}
    # one that hangs keeps nobody from the power button
    guest_says(k, 'a', 'kill -STOP $(cat /tmp/ga.pid); echo stopped')
    refused(k, "there is no mode 'signal': write acpi, agent, or both", 'shutdown', 'a', '--mode', 'signal')
    p = refused(k, 'does not answer', 'shutdown', 'a', '--mode', 'agent', '--timeout', '2')
    assert p.returncode == 9, p
    assert 'power button pressed' in k.ctl('shutdown', 'a', '--timeout', '2', timeout=60).stdout
    k.until(lambda: k.state('a') == 'shut off', 120, 'the guest is off')
    assert [e for e in k.events() if e['event'] == 'POWERDOWN']
    assert [e['data']['reason'] for e in k.events() if e['event'] == 'STOPPED'] == ['shutdown']
    assert not [e for e in k.events() if e['event'] == 'KVMD_FENCE']


run([('agent', agent)], build)
