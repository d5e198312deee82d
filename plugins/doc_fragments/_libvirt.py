# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this document fragment is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

from __future__ import annotations


class ModuleDocFragment:
    """What every module that talks to libvirt has in common."""

    DOCUMENTATION = r"""
options:
  uri:
    description:
      - The libvirt daemon to talk to, in the form that C(virsh --connect) takes.
      - Session daemons, such as V(qemu:///session), cannot limit bandwidth and are refused.
      - It is reached from the host that the task runs on. V(qemu+ssh://) uses the ssh keys of the user there, and
        V(qemu+tls://) the certificates.
    type: str
    default: qemu:///system
  username:
    description:
      - Who to be to a daemon that asks (SASL, as with V(qemu+tcp://) and often V(qemu+tls://)).
      - Without it, libvirt looks in its own file of credentials, C(auth.conf).
    type: str
    version_added: 0.1.0
  password:
    description:
      - The password of O(username).
    type: str
    version_added: 0.1.0
  timeout:
    description:
      - For how many seconds, from V(5) to V(3600), the daemon may be silent, at the beginning or later, until the task
        fails. One that is merely busy is not silent.
    type: int
    default: 30
    version_added: 0.1.0
requirements:
  - python >= 3.9
  - libvirt >= 9.0 with its Python binding (C(python3-libvirt) on Debian and Fedora)
  - lxml (C(python3-lxml) on Debian and Fedora)
"""
