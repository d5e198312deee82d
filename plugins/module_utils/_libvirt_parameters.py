# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Setting a NIC's bandwidth with one message to libvirt's daemon.

libvirt-python's setInterfaceParameters() makes three of it: to learn of what type each parameter is, it first asks how
many there are, and then for all of them. That is a third of the time. So libvirt's own function is called here, which
virsh calls as well.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

with contextlib.suppress(ImportError):  # _libvirt_host tells of it
    import libvirt

NAME_BYTES = 80  # VIR_TYPED_PARAM_FIELD_LENGTH


class _Value(ctypes.Union):
    _fields_ = (("ui", ctypes.c_uint), ("ul", ctypes.c_ulonglong))


class _Parameter(ctypes.Structure):
    """struct virTypedParameter (include/libvirt/libvirt-common.h.in)."""

    _fields_ = (("field", ctypes.c_char * NAME_BYTES), ("type", ctypes.c_int), ("value", _Value))


@lru_cache(maxsize=1)
def _function() -> Any:
    # The one that libvirt-python has loaded already.
    function = ctypes.CDLL("libvirt.so.0").virDomainSetInterfaceParameters
    function.argtypes = (
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(_Parameter)),
        *(ctypes.c_int, ctypes.c_uint),
    )
    return function


@lru_cache(maxsize=1)
def _pointer_of() -> Any:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.argtypes, get.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p
    return get


def set_interface_parameters(domain: Any, device: str, parameters: Mapping[str, int], flags: int) -> None:
    """Set parameters of a domain's NIC, unsigned integers of 32 bits each.

    Raises libvirt.libvirtError where libvirt refuses, and OverflowError where one does not fit.
    """
    array = (_Parameter * len(parameters))()
    for each, (name, value) in zip(array, parameters.items()):
        if not 0 <= value < 1 << 32:
            raise OverflowError(f"{name} {value} does not fit in 32 bits")
        each.field, each.type, each.value.ui = name.encode(), libvirt.VIR_TYPED_PARAM_UINT, value
    pointer = _pointer_of()(domain._o, b"virDomainPtr")
    if _function()(pointer, device.encode(), array, len(array), flags) < 0:
        raise libvirt.libvirtError("virDomainSetInterfaceParameters() failed")
