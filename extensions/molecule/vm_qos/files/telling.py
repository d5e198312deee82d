# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all that look at a host share; prepare.yml puts it there."""

import subprocess

wrong = []


def said(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def tell(right, *what):
    wrong.extend([] if right else [what])
    print("as wanted:" if right else "WRONG:", *what)
