# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Install pip from the interpreter itself: stands in for the script that ansible-test would download.

Where only package registries can be reached, ansible-test fails without it. It is called with the arguments of
``pip install``.
"""

from __future__ import annotations

import subprocess
import sys

# In a child process, because ensurepip switches off pip's configuration in its own.
subprocess.run([sys.executable, "-m", "ensurepip", "--upgrade"], check=True)
arguments = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
subprocess.run([sys.executable, "-m", "pip", "install", *arguments], check=True)
