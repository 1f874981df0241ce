#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that come and go: test-attach.py BUILD CASE...; the guests are the small Linux and a flat guest that knows no ACPI."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import guest_says, linux_domain, need_kvm, need_linux, refused, run, shell, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
PATIENT = ('--timeout', '120')
need_kvm()


def hot_plug_kernel():
    need_linux(guest)
    with open(f'{guest}/vmlinux', 'rb') as f:
        if b'initcall_blacklist=param_sysfs_init' in f.read():
            skip(f'the Linux guest is older than its configuration and cannot do PCI hot-plug: tests/guest/linux/build.sh {guest} makes it anew')


def linux(name, devices=''):
    hot_plug_kernel()
    return linux_domain(guest, name, devices, more='acpiphp.disable=0')


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


def image(k, name, text=b'', size=1 << 20):
    path = f'{k.root}/{name}'
    with open(path, 'wb') as f:
        f.write(text.ljust(size, b'\0'))
    os.chmod(path, 0o666)
    return path


def open_files(k, name):
    pid = k.json('dominfo', name)['pid']
    return [os.readlink(f'/proc/{pid}/fd/{x}') for x in os.listdir(f'/proc/{pid}/fd')]


def case_linux(k):
    """One Linux guest takes disks, cards, entropy, a controller and channels, uses them and gives them up."""
    shell(k, linux('a', "<controller type='virtio-serial' index='0' ports='4'/>"))
    disks(k)
    devices(k)


def disks(k):
    """It takes a disk, reads and writes it, gives it up; the next one comes to the same place."""
    first, second = image(k, 'first.img', b'kvmd-one\n'), image(k, 'second.img', b'kvmd-two\n')
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
    assert guest_says(k, 'a', 'head -c 8 /dev/vda; cat /sys/block/vda/ro') == 'kvmd-two1'
    k.ctl('detach-disk', 'a', 'vda', '--persistent', *PATIENT, timeout=300)
    assert guest_says(k, 'a', 'ls /sys/block') == ''
    assert second not in k.ctl('dumpxml', 'a', '--inactive').stdout


def interfaces():
    with open('/proc/net/dev') as f:
        return f.read()


def devices(k):
    """Network cards, entropy, a controller and channels on it: there, used, and gone again."""
    before = k.ctl('dumpxml', 'a').stdout

    def attach(xml):
        return k.json('attach-device', 'a', '-', *PATIENT, stdin=xml, timeout=300)['alias']

    def detach(alias):
        k.ctl('detach-device-alias', 'a', alias, *PATIENT, timeout=300)

    nic = k.json('attach-interface', 'a', 'ethernet', '--target', 'kvmdtap0', '--mac', '52:54:00:aa:bb:cc', *PATIENT, timeout=300)['alias']
    assert 'kvmdtap0' in interfaces()
    assert guest_says(k, 'a', 'cat /sys/class/net/eth0/address') == '52:54:00:aa:bb:cc'
    k.ctl('detach-interface', 'a', 'ethernet', '--mac', '52:54:00:AA:BB:CC', *PATIENT, timeout=300)
    k.until(lambda: 'kvmdtap0' not in interfaces(), 10, 'the tap has gone with its card')
    assert nic == 'net0' and guest_says(k, 'a', 'ls /sys/class/net') in ('lo', '')
    rng = attach("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>")
    assert 'virtio' in guest_says(k, 'a', 'cat /sys/class/misc/hw_random/rng_current')
    detach(rng)
    sock = f'{k.root}/chan.sock'
    one = f"<channel type='unix'><source mode='bind' path='{sock}'/><target type='virtio' name='org.kvmd.one'/></channel>"
    assert attach(one) == 'channel0'
    assert guest_says(k, 'a', 'cat /sys/class/virtio-ports/vport*/name') == 'org.kvmd.one'
    s = socket.socket(socket.AF_UNIX)
    s.connect(sock)
    guest_says(k, 'a', 'for f in /dev/vport*; do echo to-host >$f; done')
    s.settimeout(20)
    assert s.recv(100) == b'to-host\n'
    refused(k, 'a port of it', 'detach-device', 'a', '-', stdin="<controller type='virtio-serial' index='0'/>")
    detach('channel0')
    assert guest_says(k, 'a', 'ls /sys/class/virtio-ports') == ''
    assert attach("<controller type='virtio-serial' index='1'/>") == 'virtio-serial1'
    attach(one.replace('<target', "<address type='virtio-serial' controller='1' bus='0' port='2'/><target"))
    assert guest_says(k, 'a', 'cat /sys/class/virtio-ports/vport*/name') == 'org.kvmd.one'
    detach('channel0')
    detach('virtio-serial1')
    assert k.ctl('dumpxml', 'a').stdout == before


def case_controller(k):
    """A channel for a machine that has no virtio-serial controller: that comes first, and goes again when the channel can't come."""
    shell(k, linux('a'))
    before = k.ctl('dumpxml', 'a').stdout
    sock = f'{k.root}/chan.sock'
    one = f"<channel type='unix'><source mode='bind' path='{sock}'/><target type='virtio' name='org.kvmd.one'/></channel>"
    assert 'virtio-serial' not in before
    # a port beyond those that a controller has: the controller has come by then
    refused(k, 'port', 'attach-device', 'a', '-', *PATIENT, timeout=300,
            stdin=one.replace('<target', "<address type='virtio-serial' controller='0' bus='0' port='60'/><target"))
    assert k.ctl('dumpxml', 'a').stdout == before and not os.path.exists(sock)
    assert k.json('attach-device', 'a', '-', '--live', '--config', *PATIENT, stdin=one, timeout=300)['alias'] == 'channel0'
    for which in ((), ('--inactive',)):
        text = k.ctl('dumpxml', 'a', *which).stdout
        assert re.search("<controller type='virtio-serial' index='0'", text) and 'org.kvmd.one' in text, text
    assert guest_says(k, 'a', 'cat /sys/class/virtio-ports/vport*/name') == 'org.kvmd.one'
    s = socket.socket(socket.AF_UNIX)
    s.connect(sock)
    guest_says(k, 'a', 'for f in /dev/vport*; do echo to-host >$f; done')
    s.settimeout(20)
    assert s.recv(100) == b'to-host\n'
    done = [e['data']['ok'] for e in k.events() if e['event'] == 'COMMAND_DONE']
    assert done == [False, True], done
    # the next one has a controller already; as with libvirt it stays
    two = one.replace('one', 'two').replace('chan.sock', 'two.sock')
    k.ctl('attach-device', 'a', '-', *PATIENT, stdin=two, timeout=300)
    for alias in ('channel0', 'channel1'):
        k.ctl('detach-device-alias', 'a', alias, *PATIENT, timeout=300)
    k.ctl('detach-device-alias', 'a', 'virtio-serial0', *PATIENT, timeout=300)
    assert k.ctl('dumpxml', 'a').stdout == before
    # kvmd dies while the controller is on its way: the machine goes on, and the next kvmd finds both
    since = max(e['seq'] for e in k.events())
    asker = subprocess.Popen([f'{build}/tools/kvmctl', 'attach-device', 'a', '-', *PATIENT], env=k.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    asker.stdin.write(one.encode())
    asker.stdin.close()

    def told(event):
        return [e['data'] for e in k.events() if e['seq'] > since and e['event'] == event]
    k.until(lambda: told('COMMAND_BEGUN'), 20, 'it begins')
    k.kill()
    asker.wait()
    k.start()
    k.until(lambda: told('COMMAND_DONE'), 120, 'the result is in the journal')
    assert told('COMMAND_DONE')[-1]['ok'] and told('COMMAND_DONE')[-1]['device'] == 'channel0', told('COMMAND_DONE')
    assert guest_says(k, 'a', 'cat /sys/class/virtio-ports/vport*/name') == 'org.kvmd.one'
    for alias in ('channel0', 'virtio-serial0'):
        k.ctl('detach-device-alias', 'a', alias, *PATIENT, timeout=300)
    assert k.ctl('dumpxml', 'a').stdout == before
    k.ctl('qmp', 'a', 'device_add', json.dumps({'driver': 'virtserialport', 'id': 'p', 'name': 'org.kvmd.three'}))
    k.until(lambda: guest_says(k, 'a', 'cat /sys/class/virtio-ports/vport*/name') == 'org.kvmd.three', 120, 'the guest has the port')


def case_instant(k):
    """kvmd dies by kill -9 in the middle of what needs no guest: the machine has it or has not, and the journal says which."""
    img = image(k, 'd.img')
    start(k, flat('f', f"<disk type='file'><source file='{img}'/><target dev='vda' bus='virtio'/></disk><memballoon model='virtio'/>"
                  "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"), 'f')

    def rng():
        return 'rate bytes' in k.ctl('dumpxml', 'f').stdout

    with open(f'{k.root}/rng.xml', 'w') as f:
        f.write("<rng model='virtio'><rate bytes='1000' period='1000'/><backend model='random'>/dev/urandom</backend></rng>")
    changes = [
        (['blkdeviotune', 'f', 'vda', '--total-iops-sec', '{n}'], lambda: k.json('blkdeviotune', 'f', 'vda')['total_iops_sec']),
        (['blockresize', 'f', 'vda', '{n}MiB'], lambda: k.json('domblkinfo', 'f')['images'][0]['virtual']),
        (['dommemstat', 'f', '--period', '{n}', '--live', '--config'], lambda: k.json('dommemstat', 'f')['period']),
        (['update-device', 'f', f'{k.root}/rng.xml'], rng),
    ]
    done = 0
    for i in range(12):
        args, value = changes[i % len(changes)]
        since, before = max(e['seq'] for e in k.events()), value()
        asker = subprocess.Popen([f'{build}/tools/kvmctl', *(a.format(n=70 + i) for a in args)], env=k.env, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        time.sleep(i * 0.002)
        k.kill()
        asker.wait()
        k.start()
        k.until(lambda: k.state('f') == 'running', 20, 'it is adopted')

        def told():
            return [e for e in k.events() if e['seq'] > since and e['event'] == 'KVMD_MACHINE']

        # what was on its way to the machine may arrive after the adoption
        k.until(lambda: before is True or (value() != before) == bool(told()), 5, f'{args}: the journal tells what it is now')
        done += bool(told())
    assert not [x for x in os.listdir(f'{k.root}/var/lib/kvmd/domains') if 'tmp' in x]
    return f'{done} of 12 were done'


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
    assert 'runs from' in k.qmp('f').error('device_del', id='virtio-disk0')['desc']
    refused(k, 'in its definition.*fits', 'detach-disk', 'f', 'vdz', '--config')
    refused(k, 'in its definition.*no disk', 'blkdeviotune', 'f', 'vdz', '--config', '--total-bytes-sec', '1')
    k.ctl('blkdeviotune', 'f', 'vda', '--total-bytes-sec', '10MiB', '--read-iops-sec', '7')
    tune = k.json('blkdeviotune', 'f', 'vda')
    assert (tune['total_bytes_sec'], tune['read_iops_sec']) == (10 << 20, 7), tune
    before = k.ctl('dumpxml', 'f').stdout
    refused(k, 'fits', 'detach-disk', 'f', 'vdz')
    refused(k, 'no device', 'detach-device-alias', 'f', 'nothing')
    refused(k, 'vda', 'attach-disk', 'f', img, 'vda')
    refused(k, 'in use', 'attach-disk', 'f', other, 'vdc')
    refused(k, 'no.*gone.img', 'attach-disk', 'f', f'{k.root}/gone.img', 'vdc')
    refused(k, 'address', 'attach-disk', 'f', img, 'vdc', '--address', 'pci:0000.00.01')
    refused(k, 'slot|taken|address', 'attach-disk', 'f', img, 'vdc', '--address', 'pci:0000.00.01.0')
    # a host that emulates guest kernel code tells it of few slots; another bus' address may stand for any of them
    emulates = json.loads(k.ctl('host', '-o', 'json').stdout)['guest_kernel_code'] == 'emulated'
    refused(k, '0x02 is one' if emulates else 'no answer', 'attach-disk', 'f', img, 'vdc', '--address', 'pci:0000.00.1e.0', '--timeout', '1')
    refused(k, 'no answer', 'attach-disk', 'f', img, 'sdk', '--targetbus', 'sata', '--timeout', '1')
    assert k.ctl('dumpxml', 'f').stdout == before
    refused(k, 'cache', 'attach-disk', 'f', img, 'vdc', '--cache', 'fast')
    refused(k, 'current', 'attach-disk', 'f', img, 'vdc', '--current', '--persistent')
    refused(k, 'did you mean <disk>', 'attach-device', 'f', '-', stdin='<dsk/>')
    refused(k, 'no element', 'attach-device', 'f', '-', stdin='  <!-- nothing -->')
    refused(k, 'sound', 'attach-device', 'f', '-', stdin="<sound model='ich6'/>")
    refused(k, 'cannot be plugged', 'attach-device', 'f', '-', stdin="<serial type='null'/>")
    chan = "<channel type='null'><target type='virtio' name='org.kvmd.one'/></channel>"
    refused(k, "its controller 'virtio-serial0'.*no answer", 'attach-device', 'f', '-', '--timeout', '1', stdin=chan)
    assert k.ctl('dumpxml', 'f').stdout == before
    # two at once for one device
    slow = threading.Thread(target=lambda: k.ctl('attach-disk', 'f', img, 'vdd', '--timeout', '4', check=False))
    slow.start()
    k.until(lambda: [e for e in k.events() if e['event'] == 'COMMAND_BEGUN' and e['data'].get('device') == 'virtio-disk3'], 10, 'the first of two')
    refused(k, 'taken|in use', 'attach-disk', 'f', img, 'vdd', '--timeout', '1')
    slow.join()
    assert k.ctl('dumpxml', 'f').stdout == before
    # a root that only the guest can find is on the first disk, until somebody says otherwise
    for root, is_it in (('root=UUID=0b8d', True), ('root=/dev/mapper/vg-root', True), ('root=/dev/ram0', False), ('root=/dev/vdb2', False), ('ro', False)):
        k.ctl('destroy', 'f')
        k.ctl('undefine', 'f')
        start(k, flat('f', own, root=root), 'f')
        refused(k, 'runs from' if is_it else 'no answer', 'detach-disk', 'f', 'vda', '--timeout', '1')
    before = k.ctl('dumpxml', 'f').stdout
    # the definition needs no guest
    k.ctl('attach-disk', 'f', img, 'vdb', '--config')
    assert img in k.ctl('dumpxml', 'f', '--inactive').stdout and k.ctl('dumpxml', 'f').stdout == before
    refused(k, 'no disk of it', 'detach-disk', 'f', '/nowhere', '--config')
    k.ctl('detach-disk', 'f', img, '--config')
    assert img not in k.ctl('dumpxml', 'f', '--inactive').stdout
    k.ctl('suspend', 'f')
    refused(k, 'does not run', 'attach-disk', 'f', img, 'vdb')
    k.ctl('destroy', 'f')
    k.ctl('attach-disk', 'f', img, 'vdb')
    assert img in k.ctl('dumpxml', 'f').stdout
    start(k, flat('n', features=''), 'n')
    refused(k, 'no ACPI', 'attach-disk', 'n', img, 'vdb')


def case_update(k):
    """What may change while the machine runs does; the rest is refused by name."""
    img = image(k, 'd.img')
    disk = f"<disk type='file'><source file='{img}'/><target dev='vdb' bus='virtio'/>%s</disk>"
    start(k, flat('f', disk % ''), 'f')
    k.ctl('update-device', 'f', '-', stdin=disk % '<iotune><total_iops_sec>100</total_iops_sec></iotune>')
    assert '<total_iops_sec>100<' in k.ctl('dumpxml', 'f').stdout and 'iops' not in k.ctl('dumpxml', 'f', '--inactive').stdout
    refused(k, "'serial'", 'update-device', 'f', '-', stdin=disk % '<serial>ABC</serial>')
    refused(k, "'readonly'", 'update-device', 'f', '-', stdin=disk % '<readonly/>')
    refused(k, 'fits', 'update-device', 'f', '-', stdin=(disk % '').replace('vdb', 'vdc'))
    k.ctl('update-device', 'f', '-', '--config', stdin=disk % '<serial>ABC</serial>')
    assert '<serial>ABC<' in k.ctl('dumpxml', 'f', '--inactive').stdout and 'ABC' not in k.ctl('dumpxml', 'f').stdout
    k.ctl('update-device', 'f', '-', '--persistent', stdin=disk % '')
    assert 'iops' not in k.ctl('dumpxml', 'f').stdout and 'ABC' not in k.ctl('dumpxml', 'f', '--inactive').stdout


class Qmp:
    """A client of the machine's own socket."""
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(path)
        self.f = self.s.makefile('r')
        self.events = []
        json.loads(self.f.readline())
        self.ask('qmp_capabilities')

    def message(self):
        m = json.loads(self.f.readline())
        if 'event' in m:
            self.events.append(m)
        return m

    def ask(self, command, fd=None, **arguments):
        text = json.dumps({'execute': command, 'arguments': {k.replace('_', '-'): v for k, v in arguments.items()}}).encode()
        socket.send_fds(self.s, [text], [] if fd is None else [fd])
        while True:
            m = self.message()
            if 'event' not in m:
                return m

    def wait(self, event):
        while not [e for e in self.events if e['event'] == event]:
            self.message()
        e = [e for e in self.events if e['event'] == event][-1]
        self.events = []
        return e['data']


def case_qmp(k):
    """device_add and what it needs; a reset takes what was asked for."""
    img = image(k, 'd.img')
    start(k, flat('f'), 'f')
    before = k.ctl('dumpxml', 'f').stdout
    q = Qmp(f'{k.root}/run/kvmd/vm/f.qmp')

    def fails(want, *args, **kw):
        m = q.ask(*args, **kw)
        assert 'error' in m and re.search(want, m['error']['desc']), m

    fd = os.open(img, os.O_RDWR)
    n = q.ask('add-fd', fd=fd)['return']['fdset-id']
    os.close(fd)
    fails('from the root', 'blockdev-add', driver='file', node_name='x', filename='passwd')
    fails("there is no '/nix'", 'blockdev-add', driver='raw', node_name='x', file={'driver': 'file', 'filename': '/nix'})
    fails('not there', 'blockdev-add', driver='nbd', node_name='x')
    fails('no node', 'blockdev-add', driver='raw', node_name='x', file='nothing')
    fails('set 999', 'blockdev-add', driver='raw', node_name='x', file={'driver': 'file', 'filename': '/dev/fdset/999'})

    def nodes():
        return {x['node-name']: x for x in q.ask('query-named-block-nodes')['return']}
    others = set(nodes())
    assert q.ask('blockdev-add', driver='raw', node_name='d0', file={'driver': 'file', 'filename': f'/dev/fdset/{n}'}) == {'return': {}}
    # two nodes, of which one got its name by itself; a device that has them shows the same ones
    seen = nodes()
    auto = (set(seen) - others - {'d0'}).pop()
    assert auto.startswith('#block') and (seen['d0']['drv'], seen[auto]['drv']) == ('raw', 'file'), seen
    assert seen['d0']['file'] == f'/dev/fdset/{n}' and seen['d0']['image']['virtual-size'] == os.path.getsize(img), seen['d0']
    keys = seen['d0'].keys()
    fails('taken', 'blockdev-add', driver='file', node_name=auto, filename=f'/dev/fdset/{n}')
    assert q.ask('blockdev-add', driver='file', node_name='bare', filename=f'/dev/fdset/{n}') == {'return': {}}
    assert q.ask('blockdev-add', driver='raw', node_name='on', file='bare') == {'return': {}}
    fails('in use', 'blockdev-del', node_name='bare')
    fails('in use', 'blockdev-add', driver='raw', node_name='too', file='bare')
    assert set(nodes()) - others == {'d0', auto, 'bare', 'on'}, nodes()
    for name in 'on', 'bare':
        assert q.ask('blockdev-del', node_name=name) == {'return': {}}
    assert set(nodes()) - others == {'d0', auto}, nodes()
    fails('taken', 'blockdev-add', driver='raw', node_name='d0', file={'driver': 'file', 'filename': f'/dev/fdset/{n}'})
    fails('no block node', 'device_add', driver='virtio-blk-pci', id='disk9', drive='d1')
    fails('addr', 'device_add', driver='virtio-blk-pci', id='disk9', drive='d0', addr='0x20')
    fails('no id', 'device_add', driver='virtio-blk-pci', id='9', drive='d0')
    assert q.ask('device_add', driver='virtio-blk-pci', id='disk9', drive='d0', addr='0x7') == {'return': {}}
    assert [d for d in q.ask('query-pci')['return'][0]['devices'] if d['slot'] == 7]
    assert set(nodes()) - others == {'d0', auto} and nodes()['d0'].keys() == keys, (nodes(), keys)
    assert [b['inserted']['node-name'] for b in q.ask('query-block')['return'] if b['device'] == 'drive-disk9'] == ['d0']
    fails('already|taken', 'device_add', driver='virtio-blk-pci', id='disk8', drive='d0')
    fails('taken', 'device_add', driver='virtio-rng-pci', id='disk9')
    fails('in use', 'blockdev-del', node_name='d0')
    k.until(lambda: "alias name='disk9'" in k.ctl('dumpxml', 'f').stdout, 10, 'the description follows')
    assert q.ask('device_add', driver='virtio-rng-pci', id='rng9') == {'return': {}}
    fails('no scripts', 'netdev_add', type='tap', id='n0', script='/x')
    fails('not there', 'netdev_add', type='user', id='n0')
    fails('no network back end', 'device_add', driver='virtio-net-pci', id='net9', netdev='n0')
    fails('not found', 'eject', id='x')
    fails('no device', 'device_del', id='nothing')
    fails('cannot be unplugged', 'device_del', id='serial0')
    for name in ('disk9', '/machine/peripheral/rng9'):
        assert q.ask('device_del', id=name) == {'return': {}}
    fails('not yet answered', 'device_del', id='disk9')
    q.ask('system_reset')
    q.wait('DEVICE_DELETED')
    k.until(lambda: k.ctl('dumpxml', 'f').stdout == before, 10, 'the machine is as before')
    # the node stays, and another device may have it
    assert set(nodes()) - others == {'d0', auto}, nodes()
    assert q.ask('device_add', driver='virtio-blk-pci', id='disk9', drive='d0') == {'return': {}}
    assert q.ask('device_del', id='disk9') == {'return': {}}
    q.ask('system_reset')
    q.wait('DEVICE_DELETED')
    assert q.ask('blockdev-del', node_name='d0') == {'return': {}}
    assert set(nodes()) == others
    q.ask('remove-fd', fdset_id=n)
    assert img not in open_files(k, 'f')


def case_order(k):
    """Boot order and startup policy: recorded in machine and definition, with the word that nothing reads the order yet."""
    a, b = image(k, 'a.img'), image(k, 'b.img')

    def disk(img, target, order='', policy='', more=''):
        return f"""<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{img}'{policy and f" startupPolicy='{policy}'"}/>
                   <target dev='{target}' bus='virtio'/>{order and f"<boot order='{order}'/>"}{more}</disk>"""
    start(k, flat('f', disk(a, 'vda', 1) + disk(b, 'vdb', 2)), 'f')
    pid = k.json('dominfo', 'f')['pid']
    p = k.ctl('update-device', 'f', '-', '--live', '--config', stdin=disk(b, 'vdb', 3, 'optional'))
    assert 'no effect yet' in p.stderr and 'boot' in p.stderr and 'virtio-disk1' in p.stdout, p
    for x in k.ctl('dumpxml', 'f').stdout, k.ctl('dumpxml', 'f', '--inactive').stdout:
        assert "<boot order='3'/>" in x and "startupPolicy='optional'" in x and "<boot order='2'/>" not in x, x
    p = k.ctl('update-device', 'f', '-', stdin=disk(b, 'vdb', 1), check=False)
    assert p.returncode and 'given twice' in p.stderr, p
    k.ctl('update-device', 'f', '-', stdin=disk(b, 'vdb'))          # none: only of the machine
    assert k.ctl('dumpxml', 'f').stdout.count('<boot order') == 1 and k.ctl('dumpxml', 'f', '--inactive').stdout.count('<boot order') == 2
    p = k.ctl('update-device', 'f', '-', '--config', stdin=disk(b, 'vdb', 7, 'mandatory'))
    assert 'no effect yet' in p.stderr, p
    assert "<boot order='7'/>" in k.ctl('dumpxml', 'f', '--inactive').stdout and "<boot order='7'/>" not in k.ctl('dumpxml', 'f').stdout
    # what else it says must be as it is
    p = k.ctl('update-device', 'f', '-', stdin=disk(b, 'vdb', 4, more='<serial>other</serial>'), check=False)
    assert p.returncode and "'serial'" in p.stderr and "<boot order='4'/>" not in k.ctl('dumpxml', 'f').stdout, p
    assert k.json('dominfo', 'f')['pid'] == pid


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


def inside_a_network():
    """A network of its own, so that taps disturb nobody."""
    if os.environ.get('KVMD_TEST_NET') or not os.path.exists('/dev/net/tun') or not shutil.which('unshare') or os.geteuid():
        return
    if not subprocess.run(['unshare', '--net', 'true'], stderr=subprocess.DEVNULL).returncode:
        os.environ['KVMD_TEST_NET'] = '1'
        os.execvp('unshare', ['unshare', '--net', sys.executable, *sys.argv])


cases = {n[5:]: f for n, f in list(globals().items()) if n.startswith('case_')}
chosen = sys.argv[2:] or list(cases)
if 'devices' in chosen:
    inside_a_network()
    if not os.environ.get('KVMD_TEST_NET'):
        skip('taps need root, /dev/net/tun and unshare')
run([(c, cases[c]) for c in chosen], build)
