# SPDX-License-Identifier: GPL-2.0-or-later
"""The peers: bare QEMU, a private libvirtd with its QEMU driver, and the bare loop of KVM ioctls."""
import os
import sys
import time

from rig import Trouble, end, spawn

QEMU = '/usr/bin/qemu-system-x86_64'
LIBVIRTD = '/usr/sbin/libvirtd'
PLACES = ('/etc/libvirt', '/var/lib/libvirt', '/run/libvirt', '/var/log/libvirt', '/var/cache/libvirt')
QEMU_CONF = '''user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
'''


def qemu_argv(kernel, console, mib=128, cmdline=''):
    # no -cpu host: with it QEMU 7.2 ends at MSR 0x10a on hosts whose KVM emulates guest kernel code
    return [QEMU, '-M', 'microvm', '-nodefaults', '-no-reboot', '-display', 'none', '-accel', 'kvm', '-m', str(mib),
            '-serial', f'file:{console}', '-kernel', kernel] + (['-append', cmdline] if cmdline else [])


def qemu_disk_argv(kernel, console, image, fmt, cmdline, mib=128, null=0):
    """null: bytes of a null disk instead of the image."""
    file = f'driver=file,filename={image},aio=io_uring,cache.direct=on'
    node = f'driver=null-co,node-name=d,size={null},read-zeroes=off' if null else \
        'driver=raw,node-name=d,cache.direct=on,' + ','.join('file.' + o for o in file.split(',')) if fmt == 'raw' else \
        f'driver={fmt},node-name=d,cache.direct=on,discard=unmap,' + ','.join('file.' + o for o in file.split(','))
    argv = qemu_argv(kernel, console, mib, cmdline)
    argv[2] = 'microvm,pcie=on'
    return argv + ['-name', 'bench,debug-threads=on', '-object', 'iothread,id=io', '-blockdev', node,
                   '-device', 'virtio-blk-pci,drive=d,iothread=io,disable-legacy=on,num-queues=1']


def bare_argv(build, kernel, mib=128, cmdline=''):
    return [os.path.abspath(f'{build}/tools/benchmarks/bare'), kernel, str(mib), cmdline]


def microvm_xml(name, kernel, console, mib=128):
    return (f"<domain type='kvm'><name>{name}</name><memory unit='MiB'>{mib}</memory><vcpu>1</vcpu>"
            f"<os><type arch='x86_64' machine='microvm'>hvm</type><kernel>{kernel}</kernel></os>"
            "<features><acpi/></features><on_reboot>destroy</on_reboot>"
            f"<devices><emulator>{QEMU}</emulator><controller type='usb' model='none'/><memballoon model='none'/>"
            f"<serial type='file'><source path='{console}'/><target type='isa-serial' port='0'/></serial></devices></domain>")


class Libvirt:
    """libvirtd of this run only: in a mount namespace where its folders are ours."""

    def __init__(self, folder):
        self.folder, self.pid = folder, 0
        self.log = os.path.join(folder, 'libvirtd.log')
        self.uri = f'qemu+unix:///system?socket={folder}/sock/libvirt-sock'

    def start(self):
        if os.geteuid():
            raise Trouble('libvirt is measured as root only')
        os.makedirs(os.path.join(self.folder, 'sock'), exist_ok=True)
        script = 'set -e\n'
        for place in PLACES:
            mine = self.folder + place
            os.makedirs(mine, exist_ok=True)
            script += f'mkdir -p {place}; mount --bind {mine} {place}\n'
        with open(self.folder + '/etc/libvirt/qemu.conf', 'w', encoding='ascii') as f:
            f.write(QEMU_CONF)
        conf = os.path.join(self.folder, 'libvirtd.conf')
        with open(conf, 'w', encoding='ascii') as f:
            f.write(f'unix_sock_dir = "{self.folder}/sock"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n')
        script += f'exec /usr/bin/python3 -B {os.path.dirname(os.path.abspath(__file__))}/reaper.py ' \
                  f'{LIBVIRTD} --config {conf} --pid-file {self.folder}/pid\n'
        before = time.perf_counter()
        self.pid = spawn(['/usr/bin/unshare', '-m', '/bin/sh', '-c', script], self.log)
        self.connect(before + 60).close()
        return time.perf_counter() - before

    def connect(self, until=None):
        try:
            import libvirt                      # python3-libvirt
        except ImportError:
            raise Trouble(f'{sys.executable} has no module libvirt: install python3-libvirt') from None
        libvirt.registerErrorHandler(lambda *_: None, None)
        while True:
            try:
                return libvirt.open(self.uri)
            except libvirt.libvirtError as e:
                if not until or time.perf_counter() > until:
                    raise Trouble(f'libvirt: {e}') from None
            if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
                self.pid = 0
                with open(self.log, encoding='utf-8', errors='replace') as f:
                    raise Trouble('libvirtd ended: ' + f.read()[-500:])
            time.sleep(0.002)

    def verb(self, *args):
        return ['/usr/bin/virsh', '-q', '-c', self.uri, *args]

    def daemon_pid(self):
        with open(f'{self.folder}/pid', encoding='ascii') as f:
            return int(f.read())

    def stop(self):
        if not self.pid:
            return
        try:
            c = self.connect()
            for d in c.listAllDomains():
                if d.isActive():
                    d.destroy()
            c.close()
        except Exception:                       # what is left is ended with the reaper
            pass
        end(self.pid)
        self.pid = 0
