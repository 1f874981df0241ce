# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of a machine's own QMP socket that sees greeting, answers and events as they come, and a small machine to have one."""
import array
import json
import socket

from kvmd import Failed

MIB = 16


class Client:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60)
        self.s.connect(path)
        self.buf = b''
        self.events = []
        self.greeting = self.read()

    def read(self):
        while b'\n' not in self.buf:
            got = self.s.recv(1 << 20)
            if not got:
                raise Failed('the connection ended')
            self.buf += got
        line, self.buf = self.buf.split(b'\n', 1)
        return json.loads(line)

    def send(self, message, fds=()):
        data = (message if isinstance(message, bytes) else json.dumps(message).encode()) + b'\n'
        if fds:
            self.s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))])
        else:
            self.s.sendall(data)

    def answer(self):
        while True:
            m = self.read()
            if 'event' not in m:
                return m
            self.events.append(m)

    def ask(self, message, fds=()):
        self.send(message, fds)
        return self.answer()

    def run(self, command, **arguments):
        m = self.ask({'execute': command, 'arguments': {k.replace('_', '-'): v for k, v in arguments.items()}})
        if 'error' in m:
            raise Failed(f'{command}: {m["error"]}')
        return m['return']

    def wait(self, name):
        while True:
            for e in self.events:
                if e['event'] == name:
                    self.events.remove(e)
                    return e
            m = self.read()
            if 'event' in m:
                self.events.append(m)


def machine(k, name='q', current=1, guest='spin', disks=''):
    k.define(f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>{MIB}</memory>
  <vcpu current='{current}'>4</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{k.build}/tests/guest/flat/flat-{guest}</kernel></os>
  <features><acpi/></features>
  <devices>
    <serial type='pty'><target port='0'/></serial>
    <memballoon model='none'/>
    {disks}
  </devices>
</domain>''')
    k.ctl('start', name, '--paused')
    return k.json('dominfo', name)['qmp']
