#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that come and go: test-attach.py BUILD CASE...; the guests are the small Linux and a flat guest that knows no ACPI."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import Failed, need_kvm, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
here = os.path.dirname(os.path.abspath(__file__))
PROMPT = 'kvmd-guest:'
PATIENT = ('--timeout', '120')
need_kvm()


def cmdline():
    if not os.path.exists(f'{guest}/vmlinux') or not os.path.exists(f'{guest}/initramfs.cpio'):
        skip(f'no Linux guest: tests/guest/linux/build.sh {guest} makes it')
    with open(f'{guest}/vmlinux', 'rb') as f:
        if b'initcall_blacklist=param_sysfs_init' in f.read():
            skip(f'the Linux guest is older than its configuration and cannot do PCI hot-plug: tests/guest/linux/build.sh {guest} makes it anew')
    env = dict(os.environ, OUTDIR=guest)
    return subprocess.run(['bash', f'{here}/../guest/linux/cmdline.sh', 'suite', '4'], env=env, check=True, capture_output=True,
                          text=True).stdout.strip() + ' acpiphp.disable=0'


def linux(name, devices=''):
    return f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <kernel>{guest}/vmlinux</kernel>
    <initrd>{guest}/initramfs.cpio</initrd>
    <cmdline>{cmdline()}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <devices>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    {devices}
  </devices>
</domain>
'''


def flat(name, devices='', features='<features><acpi/></features>', root=''):
    """A guest that runs for ever and has never heard of ACPI."""
    return f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <kernel>{build}/tests/guest/flat/flat-spin</kernel>
    <cmdline>{root}</cmdline>
  </os>
  {features}
  <devices>
    <serial type='null'><target port='0'/></serial>
    {devices}
  </devices>
</domain>
'''


def start(k, xml, name):
    k.define(xml)
    k.ctl('start', name)


def shell(k, xml, name):
    start(k, xml, name)
    k.until(lambda: PROMPT in k.console(name), 400, 'a shell on the console')


marks = 0


def guest_says(k, name, command):
    """What a shell command prints in the guest."""
    global marks
    marks += 1
    k.ctl('console', name, stdin=f'echo "A{marks}=$( {command} )"\n', timeout=240)
    found = []

    def look():
        found[:] = re.findall(rf'^A{marks}=(.*?)\r?$', k.console(name), re.M)
        return found
    k.until(look, 240, f'the guest answers to {command}')
    return found[0].strip()


def refused(k, want, *args, **kw):
    p = k.ctl(*args, check=False, **kw)
    assert p.returncode and re.search(want, p.stderr), f'kvmctl {" ".join(args)}: exit {p.returncode}: {p.stdout}{p.stderr}'
    return p


def image(k, name, text=b'', size=1 << 20):
    path = f'{k.root}/{name}'
    with open(path, 'wb') as f:
        f.write(text.ljust(size, b'\0'))
    os.chmod(path, 0o666)
    return path


def open_files(k, name):
    pid = k.json('dominfo', name)['pid']
    return [os.readlink(f'/proc/{pid}/fd/{x}') for x in os.listdir(f'/proc/{pid}/fd')]


def case_disk(k):
    """A Linux guest takes a disk, reads and writes it, gives it up; the next one comes to the same place."""
    first, second = image(k, 'first.img', b'kvmd-one\n'), image(k, 'second.img', b'kvmd-two\n')
    shell(k, linux('a'), 'a')
    before = k.ctl('dumpxml', 'a').stdout
    assert k.json('attach-disk', 'a', first, 'vda', *PATIENT, timeout=300)['alias'] == 'virtio-disk0'
    assert guest_says(k, 'a', 'head -c 8 /dev/vda') == 'kvmd-one'
    assert first in k.ctl('dumpxml', 'a').stdout and first not in k.ctl('dumpxml', 'a', '--inactive').stdout
    refused(k, 'vda', 'attach-disk', 'a', second, 'vda')
    guest_says(k, 'a', 'echo written >/dev/vda; sync')
    k.ctl('detach-disk', 'a', 'vda', *PATIENT, timeout=300)
    with open(first, 'rb') as f:
        assert f.read(8) == b'written\n', 'what the guest wrote is in the image'
    assert k.ctl('dumpxml', 'a').stdout == before and first not in open_files(k, 'a')
    k.ctl('attach-disk', 'a', second, 'vda', '--persistent', '--mode', 'readonly', *PATIENT, timeout=300)
    assert second in k.ctl('dumpxml', 'a', '--inactive').stdout
    assert guest_says(k, 'a', 'ls /sys/block; head -c 8 /dev/vda; cat /sys/block/vda/ro') .split() == ['vda', 'kvmd-two1']
    k.ctl('detach-disk', 'a', 'vda', '--persistent', *PATIENT, timeout=300)
    assert guest_says(k, 'a', 'ls /sys/block') == ''
    assert second not in k.ctl('dumpxml', 'a', '--inactive').stdout


def case_flat(k):
    """Who ignores ACPI gets nothing and loses nothing; each refusal says why."""
    img, other = image(k, 'd.img'), image(k, 'other.img')
    own = f"<disk type='file'><source file='{other}'/><target dev='vda' bus='virtio'/></disk>"
    start(k, flat('f', own, root='root=/dev/vda1'), 'f')
    before = k.ctl('dumpxml', 'f').stdout
    refused(k, 'no answer from the guest', 'attach-disk', 'f', img, 'vdb', '--timeout', '1')
    assert k.ctl('dumpxml', 'f').stdout == before and img not in open_files(k, 'f')
    done = [e['data'] for e in k.events() if e['event'] == 'COMMAND_DONE']
    assert len(done) == 1 and done[0]['ok'] is False and done[0]['device'] == 'virtio-disk1', done
    refused(k, 'no answer from the guest', 'detach-disk', 'f', 'vda', '--timeout', '1', '--force')
    assert k.ctl('dumpxml', 'f').stdout == before and other in open_files(k, 'f')
    refused(k, 'runs from', 'detach-disk', 'f', 'vda')
    refused(k, 'fits', 'detach-disk', 'f', 'vdz')
    refused(k, 'no device', 'detach-device-alias', 'f', 'nothing')
    refused(k, 'vda', 'attach-disk', 'f', img, 'vda')
    refused(k, 'in use', 'attach-disk', 'f', other, 'vdc')
    refused(k, 'no.*gone.img', 'attach-disk', 'f', f'{k.root}/gone.img', 'vdc')
    refused(k, 'address', 'attach-disk', 'f', img, 'vdc', '--address', 'pci:0000.00.01')
    refused(k, 'slot|taken|address', 'attach-disk', 'f', img, 'vdc', '--address', 'pci:0000.00.01.0')
    refused(k, 'cache', 'attach-disk', 'f', img, 'vdc', '--cache', 'fast')
    refused(k, 'current', 'attach-disk', 'f', img, 'vdc', '--current', '--persistent')
    refused(k, 'did you mean <disk>', 'attach-device', 'f', '-', stdin='<dsk/>')
    refused(k, 'no element', 'attach-device', 'f', '-', stdin='  <!-- nothing -->')
    refused(k, 'sound', 'attach-device', 'f', '-', stdin="<sound model='ich6'/>")
    refused(k, 'cannot be plugged', 'attach-device', 'f', '-', stdin="<serial type='null'/>")
    # two at once for one device
    slow = threading.Thread(target=lambda: k.ctl('attach-disk', 'f', img, 'vdd', '--timeout', '4', check=False))
    slow.start()
    k.until(lambda: [e for e in k.events() if e['event'] == 'COMMAND_BEGUN' and e['data'].get('device') == 'virtio-disk3'], 10, 'the first of two')
    refused(k, 'taken|in use', 'attach-disk', 'f', img, 'vdd', '--timeout', '1')
    slow.join()
    assert k.ctl('dumpxml', 'f').stdout == before
    # the definition needs no guest
    k.ctl('attach-disk', 'f', img, 'vdb', '--config')
    assert img in k.ctl('dumpxml', 'f', '--inactive').stdout and k.ctl('dumpxml', 'f').stdout == before
    k.ctl('detach-disk', 'f', 'vdb', '--config')
    assert img not in k.ctl('dumpxml', 'f', '--inactive').stdout
    k.ctl('suspend', 'f')
    refused(k, 'does not run', 'attach-disk', 'f', img, 'vdb')
    k.ctl('destroy', 'f')
    k.ctl('attach-disk', 'f', img, 'vdb')
    assert img in k.ctl('dumpxml', 'f').stdout
    start(k, flat('n', features=''), 'n')
    refused(k, 'no ACPI', 'attach-disk', 'n', img, 'vdb')


def case_killed(k):
    """kvmd dies while the guest is asked: the machine goes on, the result is in the journal."""
    img = image(k, 'd.img')
    start(k, flat('f'), 'f')
    before = k.ctl('dumpxml', 'f').stdout
    asker = subprocess.Popen([f'{build}/tools/kvmctl', 'attach-disk', 'f', img, 'vdb', '--timeout', '3'], env=k.env, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    k.until(lambda: [e for e in k.events() if e['event'] == 'COMMAND_BEGUN'], 10, 'the question')
    k.kill(signal.SIGKILL)
    asker.wait()
    k.start()
    k.until(lambda: [e for e in k.events() if e['event'] == 'COMMAND_DONE'], 20, 'the result')
    done = [e['data'] for e in k.events() if e['event'] == 'COMMAND_DONE'][0]
    assert done['ok'] is False and done['device'] == 'virtio-disk1' and 'no answer' in done['desc'], done
    assert k.state('f') == 'running' and img not in open_files(k, 'f')
    k.until(lambda: k.ctl('dumpxml', 'f').stdout == before, 10, 'the machine is as before')


cases = {n[5:]: f for n, f in list(globals().items()) if n.startswith('case_')}
chosen = sys.argv[2:] or list(cases)
run([(c, cases[c]) for c in chosen], build)
