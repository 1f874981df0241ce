#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI as a Linux guest and Debian's own lspci see it: test-pci.py BUILD CASE...; see `cases` at the end. lspci comes on a disk
(tools_image). In a network namespace of its own."""
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import guest_says, guest_tool, linux_domain, need_kvm, need_linux, run, shell, skip, tools_image  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
IDS = '/usr/share/misc/pci.ids'

need_kvm()
need_linux(guest)
if os.geteuid():
    skip('taps and namespaces need root')
for tool in ('ip', 'unshare', 'mkfs.ext4', 'lspci'):
    if not shutil.which(tool):
        skip(f'{tool} is not installed')
if not os.path.exists('/dev/net/tun') or not os.path.exists(IDS):
    skip(f'/dev/net/tun or {IDS} is missing')
if 'KVMD_TEST_NETNS' not in os.environ:
    os.environ['KVMD_TEST_NETNS'] = '1'
    if subprocess.run(['unshare', '--net', 'true'], stderr=subprocess.DEVNULL).returncode:
        skip('this host makes no network namespaces')
    os.execvp('unshare', ['unshare', '--net', sys.executable, *sys.argv])


def xml(devices, options, vcpus=1, memory=128, head=''):
    return linux_domain(guest, 'p', devices, memory=memory, head=head, vcpus=vcpus, more=options,
                        cpu=f"<cpu><numa><cell id='0' cpus='0-{vcpus - 1}' memory='128' unit='MiB'/></numa></cpu>")


def says(k, command):
    """All lines that a command prints in the guest."""
    before = len(k.console('p'))
    k.ctl('console', 'p', stdin=f'echo KVMD-"BEGIN"; {{ {command}; }} 2>&1; echo KVMD-"SAID"\n', timeout=240)
    k.until(lambda: re.search(r'^KVMD-SAID', k.console('p')[before:], re.M), 240, f'the guest answers to {command}')
    return re.search(r'^KVMD-BEGIN\r?\n(.*?)^KVMD-SAID', k.console('p')[before:], re.M | re.S)[1].replace('\r', '')


def quiet_kernel(k):
    """The kernel found nothing wrong with what it was given."""
    text = says(k, 'dmesg')
    assert 'PCI: ' in text or 'pci 0000:00:00.0' in text, f'dmesg: {text}'
    for bad in ("can't claim BAR", 'no space for', 'failed to assign', 'no compatible bridge window', 'nobody cared', 'address conflict', 'BUG:', 'WARNING:',
                'Call Trace', 'virtio_pci: probe', 'disabling IRQ', 'Disabling IRQ', 'lost', 'I/O error'):
        assert bad not in text, f'"{bad}" in dmesg:\n{text}'
    return text


# place: class, ids, name in the first line; those with MSI-X have the vectors they shall have
FUNCTIONS = {
    '00:00.0': (r'Host bridge \[0600\]', '1b36:0008', None),
    '00:03.0': (r'SCSI storage controller \[0100\]', '1af4:1042', 2),
    '00:04.0': (r'Ethernet controller \[0200\]', '1af4:1041', None),
    '00:05.0': (r'Communication controller \[0780\]', '1af4:1043', None),
    '00:06.0': (r'Unclassified device \[00ff\]', '1af4:1044', 2),
    '00:06.1': (r'Unclassified device \[00ff\]', '1af4:1045', None),
    '00:07.0': (r'.* \[[0-9a-f]{4}\]', '1af4:1058', None),
}
BAD = ('(rev ff)', '!!! Unknown header', '<access denied>', '[disabled]', '[virtual]', 'unassigned', 'ignored', 'Unknown small resource', '<?>', '<chain broken>',
       '<chain looped>', '<TAbort+', '<MAbort+', '>SERR+', '<PERR+', 'UnsupReq+', 'FatalErr+', 'pcilib:', 'lspci:')

NO_MODULES = 'lspci: Unable to load libkmod resources: error -2\n'         # this kernel has no modules, so there is no list of them


def judge(text, functions):
    found = {m[1]: m[0] for m in re.finditer(r'^([0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) .*?(?=^[0-9a-f]{2}:|\Z)', text, re.M | re.S)}
    assert set(found) == set(functions), f'{sorted(found)} are there:\n{text}'
    for place, (kind, ids, vectors) in functions.items():
        it = found[place]
        assert re.match(rf'{place} {kind}: .* \[{ids}\]', it), f'{kind} [{ids}] is wanted:\n{it}'
        for bad in BAD:
            assert bad not in it, f'"{bad}":\n{it}'
        if ids.startswith('1b36'):
            continue
        assert re.search(r'^\tControl: I/O[-+] Mem\+ BusMaster\+ .* DisINTx\+', it, re.M), it
        assert re.search(r'^\tRegion 0: Memory at [0-9a-f]+ \(64-bit, non-prefetchable\) \[size=\d+K\]', it, re.M), it
        m = re.search(r'MSI-X: Enable\+ Count=(\d+) Masked-', it)
        assert m and (not vectors or int(m[1]) == vectors), it
        assert re.search(r'Express \(v2\) Root Complex Integrated Endpoint', it), it
        assert 'Kernel driver in use: virtio-pci' in it, it
        for part in ('CommonCfg', 'Notify', 'ISR'):
            assert f'VirtIO: {part}' in it, it
    return found


def names():
    """Of pci.ids only what we are made of: the guest reads all of it for each lspci."""
    with open(IDS, encoding='utf-8') as f:
        parts = re.findall(r'^(?:1af4|1b36|C [0-9a-f]{2}) .*\n(?:\t.*\n|#.*\n)*', f.read(), re.M)
    return ''.join(parts).encode()


def case_lspci(k):
    """Every kind of function we have, and one that comes while the guest runs, without a word of complaint."""
    tools_image(f'{k.root}/tools.img', ['lspci'], {'pci.ids': names()})
    with open(f'{k.root}/hot.img', 'wb') as f:
        f.truncate(1 << 20)
    for args in (['link', 'set', 'lo', 'up'], ['link', 'add', 'brt', 'type', 'bridge'], ['link', 'set', 'brt', 'up']):
        subprocess.run(['ip', *args], check=True)

    def at(slot, more='', function=0):
        return f"<address type='pci' domain='0' bus='0' slot='{slot}' function='{function}'{more}/>"
    shell(k, xml(f'''
    <disk type='file' device='disk'><driver name='qemu' type='raw' queues='1'/><source file='{k.root}/tools.img'/><target dev='vda' bus='virtio'/>
      <readonly/>{at(3)}</disk>
    <interface type='bridge'><mac address='52:54:00:aa:bb:04'/><source bridge='brt'/><model type='virtio'/>{at(4)}</interface>
    <controller type='virtio-serial' index='0'>{at(5)}</controller>
    <channel type='unix'><source mode='bind' path='{k.root}/chan'/><target type='virtio' name='test.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend>{at(6, " multifunction='on'")}</rng>
    <memballoon model='virtio'>{at(6, '', 1)}</memballoon>
    <memory model='virtio-mem'><target><size unit='MiB'>128</size><node>0</node><block unit='MiB'>2</block><requested unit='MiB'>0</requested></target>{at(7)}</memory>
''', 'acpiphp.disable=0', memory=256,
                 head="<maxMemory slots='1' unit='MiB'>256</maxMemory><currentMemory unit='MiB'>128</currentMemory>"))
    says(k, 'mount -r -t ext4 /dev/vda /mnt')
    lspci = guest_tool('/mnt', 'lspci') + ' -i /mnt/pci.ids -nn'
    text = says(k, f'{lspci} -vvv').replace(NO_MODULES, '')
    judge(text, FUNCTIONS)
    k.ctl('attach-disk', 'p', f'{k.root}/hot.img', 'vdb', '--timeout', '120', timeout=300)
    new = (set(re.findall(r'^([0-9a-f]{2}:[0-9a-f]{2}\.\d) ', says(k, lspci), re.M)) - set(FUNCTIONS)).pop()
    judge(says(k, f'{lspci} -vvv -s {new}').replace(NO_MODULES, ''), {new: FUNCTIONS['00:03.0']})
    quiet_kernel(k)
    assert guest_says(k, 'p', 'grep -c virtio /proc/interrupts') != '0'
    return f'{len(FUNCTIONS)} functions, {len(text.splitlines())} lines, and one more at {new}'


def case_intx(k):
    """Without MSI-X: two disks and entropy on one line of the I/O APIC, busy at once."""
    data = random.Random(7).randbytes(2 << 20)
    for name in ('a', 'b'):
        with open(f'{k.root}/{name}.img', 'wb') as f:
            f.write(data if name == 'a' else bytes(len(data)))
        os.chmod(f'{k.root}/{name}.img', 0o666)
    slots = [f"<address type='pci' domain='0' bus='0' slot='{n}' function='0'/>" for n in (3, 7, 11)]
    shell(k, xml(f'''
    <disk type='file' device='disk'><driver name='qemu' type='raw' queues='1'/><source file='{k.root}/a.img'/><target dev='vda' bus='virtio'/>{slots[0]}</disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw' queues='1'/><source file='{k.root}/b.img'/><target dev='vdb' bus='virtio'/>{slots[1]}</disk>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend>{slots[2]}</rng>
''', 'pci=nomsi'))
    # a process of its own for each, so that the line is shared in time as well
    says(k, 'dd if=/dev/hwrng of=/tmp/rng bs=64 count=256 iflag=fullblock 2>/dev/null & dd if=/dev/vda of=/dev/vdb bs=4k conv=fsync 2>/dev/null; wait')
    assert says(k, 'md5sum </dev/vdb').split()[0] == hashlib.md5(data).hexdigest()
    with open(f'{k.root}/b.img', 'rb') as f:
        assert f.read() == data, 'the second disk has other bytes'
    assert says(k, 'wc -c </tmp/rng').strip() == '16384'
    text = says(k, 'cat /proc/interrupts')
    m = re.search(r'^ *(\d+): +(\d+) +IO-APIC +19-fasteoi +(virtio.*)$', text, re.M)
    assert m and m[3].count('virtio') == 3 and int(m[2]) > 100, text
    assert 'MSI' not in text and re.search(r'^ *ERR: +0', text, re.M) and re.search(r'^ *MIS: +0', text, re.M), text
    spurious = says(k, f'cat /proc/irq/{m[1]}/spurious')
    bad = re.search(r'unhandled (\d+)', spurious)
    assert bad, spurious
    quiet_kernel(k)
    counters = k.qmp('p')('query-counters')
    assert not counters['fence-violations'] and not [d for d in counters['devices'] if d['guest-errors']], counters
    return f'{m[2]} interrupts, {bad[1]} of them for nothing'


cases = {'lspci': case_lspci, 'intx': case_intx}
chosen = sys.argv[2:] or list(cases)
run([(n, cases[n]) for n in chosen], build)
